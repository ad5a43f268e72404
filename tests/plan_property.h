/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for any bytes given to sp_plan_parse. Shared by the mutation test and the fuzz target. */
#ifndef TESTS_PLAN_PROPERTY_H
#define TESTS_PLAN_PROPERTY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slimpipe/plan.h"

/* The canonical text, freed by the caller; NULL when memory is short. */
static inline char *print_plan(const struct sp_plan *plan, size_t *ret_size)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, ret_size);
    if (!stream)
        return NULL;
    enum sp_status status = sp_plan_print(plan, stream, NULL);
    if (fclose(stream) == 0 && status == SP_OK)
        return text;
    free(text);
    return NULL;
}

/* A plan that was read is written in a form that reads as the same plan. NULL, or what is wrong. */
static inline const char *check_printed(const struct sp_plan *plan)
{
    struct sp_plan *again = NULL;
    struct sp_error error;
    size_t size, again_size;
    const char *wrong = NULL;
    char *text = print_plan(plan, &size), *again_text = NULL;
    if (!text)
        return "not printed";
    if (sp_plan_parse(text, size, "printed", &again, &error) != SP_OK)
        wrong = "its canonical form is refused";
    else if (!(again_text = print_plan(again, &again_size)))
        wrong = "not printed again";
    else if (size != again_size || memcmp(text, again_text, size) != 0)
        wrong = "its canonical form changes when it is read and written";
    sp_plan_destroy(again);
    free(again_text);
    free(text);
    return wrong;
}

/* Parses any bytes: a good plan round-trips, a refusal says what and where in one line. */
static inline const char *check_plan_text(const char *text, size_t size)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {.status = SP_OK};
    enum sp_status status = sp_plan_parse(text, size, "text", &plan, &error);
    if (status == SP_OK) {
        const char *wrong = check_printed(plan);
        sp_plan_destroy(plan);
        return wrong;
    }
    if (status != SP_INPUT && status != SP_INFEASIBLE)
        return "a status that is not about the text";
    if (plan || error.status != status)
        return "result or error are not as promised";
    if (!error.message[0] || strchr(error.message, '\n') || error.path[0] != '$' || error.line < 1 ||
        error.column < 1)
        return "a message without its place";
    return NULL;
}

#endif
