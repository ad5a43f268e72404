/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "slimpipe/status.h"

Test(status, every_status_has_a_text)
{
    cr_expect_str_eq(sp_status_text(SP_OK), "ok");
    cr_expect_str_eq(sp_status_text(SP_INPUT), "bad input");
    cr_expect_str_eq(sp_status_text(SP_STOPPED), "stopped");
    cr_expect_str_eq(sp_status_text((enum sp_status)(SP_STOPPED + 1)), "unknown status");
}

Test(status, set_writes_one_line_and_clears_the_place)
{
    struct sp_error error = {.source = "old.json", .path = "$.old", .line = 7, .column = 9};
    cr_expect_eq(sp_error_set(&error, SP_INPUT, "expected %d, found \"%s\"", 3, "a\nb"), SP_INPUT);
    cr_expect_eq(error.status, SP_INPUT);
    cr_expect_str_eq(error.message, "expected 3, found \"a b\"");
    cr_expect_str_empty(error.source);
    cr_expect_str_empty(error.path);
    cr_expect_eq(error.line, 0);
    cr_expect_eq(sp_error_set(NULL, SP_IO, "nobody listens"), SP_IO);
}

Test(status, long_messages_are_cut)
{
    struct sp_error error;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    sp_error_set(&error, SP_INPUT, "%s", text);
    cr_expect_eq(strlen(error.message), sizeof error.message - 1);
}

Test(status, text_leaves_out_what_is_empty)
{
    struct sp_error error = {.message = "message"};
    char text[64];
    cr_expect_str_eq(sp_error_text(&error, text, sizeof text), "message");
    strcpy(error.source, "plan.json");
    cr_expect_str_eq(sp_error_text(&error, text, sizeof text), "plan.json: message");
    error.line = 4;
    error.column = 12;
    cr_expect_str_eq(sp_error_text(&error, text, sizeof text), "plan.json:4:12: message");
    strcpy(error.path, "$.stages[3]");
    cr_expect_str_eq(sp_error_text(&error, text, sizeof text), "plan.json:4:12: $.stages[3]: message");
    cr_expect_str_eq(sp_error_text(&error, text, 5), "plan");
}
