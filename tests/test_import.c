/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "slimpipe/arena.h"
#include "slimpipe/interchange.h"

static const int64_t forward_ns = 5, input_ns = 6, weight_ns = 4;
static const struct sp_pass_costs costs = {
    .forward_ns = &forward_ns, .input_ns = &input_ns, .weight_ns = &weight_ns, .message_ns = 1};

/* Writes text to a file of its own, whose name it gives. */
static void write_text(const char *text, char path[32])
{
    strcpy(path, "/tmp/test_import_XXXXXX");
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
}

static enum sp_status import_text(const char *text, struct sp_plan **ret_plan, struct sp_error *error)
{
    char path[32];
    write_text(text, path);
    enum sp_status status = sp_import_torch(path, &costs, 1, ret_plan, error);
    unlink(path);
    return status;
}

static struct sp_plan *import(const char *text)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {0};
    cr_assert_eq(import_text(text, &plan, &error), SP_OK, "%d:%d: %s", error.line, error.column,
                 error.message);
    return plan;
}

/* The order in a plan's own tokens: devices separated by " | ". */
static void assert_order(const struct sp_plan *plan, const char *expected)
{
    char text[1024] = "", token[32];
    for (uint32_t d = 0; d < plan->order.device_count; d++) {
        strcat(text, d ? " |" : "");
        for (uint64_t i = plan->order.begin[d]; i < plan->order.begin[d + 1]; i++) {
            strcat(text, *text ? " " : "");
            strcat(text, sp_pass_text(&plan->order.passes[i], 1, token, sizeof token));
            strcat(text, plan->order.passes[i].joined ? "&" : "");
        }
    }
    cr_assert_str_eq(text, expected);
}

Test(import, counts_stages_and_microbatches)
{
    struct sp_plan *plan = import("0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
    cr_assert_str_eq(plan->schedule, "imported");
    cr_assert_eq(plan->parallel.pipeline, 2);
    cr_assert_eq(plan->stage_count, 2);
    cr_assert_eq(plan->workload.microbatches, 2);
    cr_assert_eq(plan->slice_count, 1);
    cr_assert_eq(plan->stages[1].device, 1);
    cr_assert_eq(plan->stages[1].train, SP_TRAIN_FULL);
    assert_order(plan, "0F0 0F1 0B0 0B1 | 1F0 1B0 1F1 1B1");
    sp_plan_destroy(plan);
}

Test(import, spreads_the_costs)
{
    struct sp_plan *plan = import("0F0,0B0\n1F0,1B0\n");
    cr_assert_eq(plan->costs->forward_ns[1], 5);
    cr_assert_eq(plan->costs->input_ns[1], 6);
    cr_assert_eq(plan->costs->weight_ns[1], 4);
    cr_assert_null(plan->costs->overlap_ns);
    cr_assert_eq(plan->costs->message_ns, 1);
    sp_plan_destroy(plan);
}

Test(import, takes_blanks_and_any_line_end)
{
    struct sp_plan *plan = import(", 0F0 ,,0I0,\t0W0\r\n,,1F0, 1B0,\r\n\r\n");
    assert_order(plan, "0F0 0I0 0W0 | 1F0 1B0");
    sp_plan_destroy(plan);
    plan = import("0F0,0B0"); /* no newline at the end */
    assert_order(plan, "0F0 0B0");
    sp_plan_destroy(plan);
}

Test(import, joins_overlapped_pairs)
{
    struct sp_plan *plan = import("0F0,1F0,1I0,1W0,(0F1;0B0)OVERLAP_F_B,1F1,1B1,0B1\n");
    assert_order(plan, "0F0 1F0 1I0 1W0 0F1& 0B0 1F1 1B1 0B1");
    sp_plan_destroy(plan);
}

/* The form that PyTorch writes after it added communication; sharded parameters are no matter of the order.
 */
Test(import, leaves_communication_out)
{
    struct sp_plan *plan = import("0UNSHARD,0F0,0SEND_F0,0RECV_B0,0B0,0REDUCE_GRAD,0RESHARD\n"
                                  "1UNSHARD,1RECV_F0,1F0,1B0,1SEND_B0,1RESHARD\n");
    assert_order(plan, "0F0 0B0 | 1F0 1B0");
    sp_plan_destroy(plan);
}

/* Two directions, as DualPipe runs them: microbatch 0 goes down, microbatch 1 up. */
Test(import, finds_replicas)
{
    struct sp_plan *plan = import("0F0,1F1,1B1,0B0\n0F1,1F0,1B0,0B1\n");
    cr_assert_eq(plan->stages[0].device, 0);
    cr_assert_eq(plan->stages[0].replica_count, 1);
    cr_assert_eq(plan->stages[0].replicas[0], 1);
    cr_assert_eq(plan->stages[1].device, 1);
    cr_assert_eq(plan->stages[1].replicas[0], 0);
    sp_plan_destroy(plan);
}

Test(import, derives_what_is_trained)
{
    struct sp_plan *plan = import("0F0\n1F0,1I0\n2F0,2B0\n");
    cr_assert_eq(plan->stages[0].train, SP_TRAIN_NONE);
    cr_assert_eq(plan->stages[1].train, SP_TRAIN_INPUT);
    cr_assert_eq(plan->stages[2].train, SP_TRAIN_FULL);
    sp_plan_destroy(plan);
}

/* --- Bad files: each with place and message ---------------------------------------------------------- */

struct bad_file {
    char text[96];
    int line, column;
    char message[112];
};

ParameterizedTestParameters(import, refuses)
{
    static struct bad_file files[] = {
        {"0F0,0X0\n", 1, 5, "'0X0': expected a pass such as 0F3, 2I0, 2W0, 1B4 or (2F5;5B1)OVERLAP_F_B"},
        {"0F0\n1F0,1B\n", 2, 5, "'1B': expected a pass such as"},
        {"0F0.1\n", 1, 1, "'0F0.1': expected a pass such as"},
        {"0F0;0B0\n", 1, 1, "'0F0;0B0': expected a pass such as"},
        {"0F0, (0F1;0B0)OVERLAP\n", 1, 6, "'(0F1;0B0)OVERLAP': expected a pass such as"},
        {"(0F1,0B0)OVERLAP_F_B\n", 1, 1, "'(0F1': expected a pass such as"},
        {"0F0,(0F1;0W0)OVERLAP_F_B\n", 1, 5,
         "'(0F1;0W0)OVERLAP_F_B': expected one forward and one backward to overlap"},
        {"0F0,(0B1;0B0)OVERLAP_F_B\n", 1, 5, "expected one forward and one backward to overlap"},
        {"20000F0\n", 1, 1, "stage 20000, microbatch 0: expected stages below 16384"},
        {"0F99999999999999999999\n", 1, 1, "expected a pass such as"},
        {"0F0,0F2\n", 0, 0, "2 passes are too few for its 1 stages and 3 microbatches"},
        {"0F0,0F2,0B0,0B2\n", 0, 0, "no pass 0F1: expected each of 1 stages to run each of 3 microbatches"},
        {"0F0,0B0,0F0\n", 1, 9, "0F0 repeats the pass of line 1, column 1"},
        {"0F0,0I0,0B0\n", 1, 9, "0B0 repeats the pass of line 1, column 5"},
        {"0F0\n0B0,1F0\n", 2, 1, "0B0 runs on device 1, but its forward on device 0"},
        {"0F0\n\n1F0\n", 2, 1, "device 1 runs no pass"},
        {"", 0, 0, "no pass in it; expected one line of passes per device"},
        {"\n\n", 0, 0, "no pass in it"},
        {"0F0,0SEND_F0\n1F0\n", 1, 5, "0SEND_F0 has no 1RECV_F0 at its other end"},
        {"0F0\n1RECV_F0,1F0\n", 2, 1, "1RECV_F0 has no 0SEND_F0 at its other end"},
        {"0SEND_F0,0F0\n1RECV_F0,1F0\n", 1, 1, "0SEND_F0 stands before the pass whose result it sends"},
        {"0F0,0SEND_F0\n1F0,1RECV_F0\n", 2, 5, "1RECV_F0 stands after the pass that needs it"},
        {"0F0,0SEND_F0,0SEND_F0\n1RECV_F0,1F0\n", 1, 14, "0SEND_F0 stands there twice"},
        {"0F0\n1F0,1SEND_F0\n", 2, 5, "1SEND_F0 has no stage at its other end"},
        {"0F0,1SEND_F0\n1F0\n", 1, 5, "1SEND_F0 has no pass on its device"},
        {"0F0,0SEND_F0,0F1\n1RECV_F0,1F0,1F1\n", 2, 14, "1F1 has no 1RECV_F1 before it"},
    };
    return cr_make_param_array(struct bad_file, files, sizeof files / sizeof *files);
}

ParameterizedTest(struct bad_file *file, import, refuses)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {0};
    cr_assert_eq(import_text(file->text, &plan, &error), SP_INPUT, "'%s' is taken", file->text);
    cr_assert_null(plan);
    cr_assert_neq(strstr(error.message, file->message), NULL, "'%s': %s", file->text, error.message);
    cr_assert_eq(error.line, file->line, "'%s': line %d", file->text, error.line);
    cr_assert_eq(error.column, file->column, "'%s': column %d", file->text, error.column);
    cr_assert_neq(strstr(error.source, "test_import_"), NULL);
}

/* A cycle is found by the plan's own check. */
Test(import, refuses_a_deadlock)
{
    struct sp_plan *plan = NULL;
    struct sp_error error = {0};
    cr_assert_eq(import_text("0F0,2F0,1F0\n3F0\n", &plan, &error), SP_INFEASIBLE);
    cr_assert_null(plan);
    cr_assert_neq(strstr(error.message, "wait for each other"), NULL, "%s", error.message);
}

Test(import, refuses_costs_of_another_number_of_stages)
{
    static const int64_t three[] = {1, 2, 3};
    struct sp_pass_costs uneven = {.forward_ns = three};
    struct sp_plan *plan = NULL;
    struct sp_error error = {0};
    char path[32];
    write_text("0F0\n1F0\n", path);
    cr_assert_eq(sp_import_torch(path, &uneven, 3, &plan, &error), SP_INPUT);
    cr_assert_str_eq(error.message, "costs of 3 stages: expected 1, for all, or 2, one per stage");
    unlink(path);
}

/* Whichever allocation fails, the import fails with it and nothing leaks. */
Test(import, survives_short_memory)
{
    char path[32];
    write_text("0F0,0SEND_F0,0RECV_B0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n", path);
    for (int64_t n = 0;; n++) {
        struct sp_plan *plan = NULL;
        struct sp_error error = {0};
        sp_alloc_fail_after(n);
        enum sp_status status = sp_import_torch(path, &costs, 1, &plan, &error);
        sp_alloc_fail_after(-1);
        if (status == SP_OK) {
            cr_assert_gt(n, 10);
            sp_plan_destroy(plan);
            break;
        }
        cr_assert_eq(status, SP_MEMORY, "%lld: %s", (long long)n, error.message);
        cr_assert_null(plan);
    }
    unlink(path);
}
