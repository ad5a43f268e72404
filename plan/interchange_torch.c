/* SPDX-License-Identifier: Apache-2.0 */
#include "slimpipe/interchange.h"

#include <string.h>

#include "imported_order.h"
#include "slimpipe/file.h"

enum { FILE_LIMIT = 1 << 30 };

enum sp_status sp_import_torch(const char *path, const struct sp_pass_costs *costs, uint32_t cost_stages,
                               struct sp_plan **ret_plan, struct sp_error *error)
{
    struct imported_order order = {0};
    char *text = NULL;
    size_t size;
    enum sp_status status;

    if ((status = sp_file_read(path, FILE_LIMIT, &text, &size, error)) ||
        (status =
             sp_torch_parse(&order, strcmp(path, "-") == 0 ? "standard input" : path, text, size, error)) ||
        (status = sp_imported_order_index(&order, error)) ||
        (status = sp_imported_messages_check(&order, error)))
        goto out;
    status = sp_imported_order_plan(&order, costs, cost_stages, ret_plan, error);
out:
    sp_imported_order_finish(&order);
    sp_free(text);
    return status;
}
