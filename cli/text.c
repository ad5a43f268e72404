/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include "slimpipe/arena.h"
#include "slimpipe/file.h"

enum { LONGEST_TEXT = 1 << 30 };

enum sp_status text_read(const char *path, int32_t **ret_tokens, int64_t *ret_count, struct sp_error *error)
{
    char *text = NULL;
    size_t size;
    enum sp_status status = sp_file_read(path, LONGEST_TEXT, &text, &size, error);

    if (status)
        return status;
    int32_t *tokens = sp_alloc(size + 1, sizeof(*tokens));
    if (!tokens) {
        status = sp_error_set(error, SP_MEMORY, "no memory for a text of %zu bytes", size);
    } else {
        for (size_t i = 0; i < size; i++)
            tokens[i] = (unsigned char)text[i];
        *ret_tokens = tokens;
        *ret_count = (int64_t)size;
    }
    sp_free(text);
    return status;
}

enum sp_status text_make(int64_t vocab, int64_t count, int32_t **ret_tokens, struct sp_error *error)
{
    int32_t *tokens = sp_alloc((size_t)count, sizeof(*tokens));
    uint64_t state = 1;

    if (!tokens)
        return sp_error_set(error, SP_MEMORY, "no memory for %lld tokens", (long long)count);
    for (int64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        tokens[i] = (int32_t)((state >> 33) % (uint64_t)vocab);
    }
    *ret_tokens = tokens;
    return SP_OK;
}
