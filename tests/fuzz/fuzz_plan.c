/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes given to the plan's reader. With -Dfuzz=true (clang) a libFuzzer program; else it replays files.
 */
#include <stdint.h>

#include "../plan_property.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *wrong = check_plan_text((const char *)data, size);
    if (wrong) {
        fprintf(stderr, "%s\n", wrong);
        abort();
    }
    return 0;
}
