/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of folders: replay FOLDER... */
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "slimpipe/arena.h"
#include "slimpipe/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replay(const char *folder)
{
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", folder);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text;
        size_t size;
        struct sp_error error;
        if (sp_file_read(found.gl_pathv[i], 1 << 26, &text, &size, &error) != SP_OK) {
            fprintf(stderr, "%s: %s\n", found.gl_pathv[i], error.message);
            exit(1);
        }
        fprintf(stderr, "%s\n", found.gl_pathv[i]);
        /* A block of its own of just this size, so that the address sanitizer sees reads beyond it. */
        uint8_t *data = malloc(size ? size : 1);
        for (size_t j = 0; data && j < size; j++)
            data[j] = (uint8_t)text[j];
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        sp_free(text);
    }
    size_t count = found.gl_pathc;
    globfree(&found);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++)
        count += replay(argv[i]);
    printf("%zu inputs\n", count);
    return count > 0 ? 0 : 1;
}
