/* SPDX-License-Identifier: Apache-2.0 */
/* Orders out to other frameworks' formats, and back. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "slimpipe/arena.h"
#include "slimpipe/file.h"
#include "slimpipe/interchange.h"
#include "support.h"

static const int64_t forward_ns = 5000000, input_ns = 6000001, weight_ns = 4000007;
static const struct sp_pass_costs costs = {
    .forward_ns = &forward_ns, .input_ns = &input_ns, .weight_ns = &weight_ns, .activation_bytes = 1 << 20};

/* NULL where the schedule refuses the shape. */
static struct sp_plan *make_plan(const struct sp_schedule *schedule, uint32_t p, uint32_t v, uint32_t n,
                                 uint32_t m)
{
    struct sp_request request = {
        .schedule = schedule->name,
        .costs = &costs,
        .cost_stages = 1,
        .parallel = {.pipeline = p},
        .chunks = v,
        .slices = n,
        .microbatches = m,
        .offload_permille = schedule->traits & SP_SCHEDULE_OFFLOADS ? 1000 : 0,
    };
    struct sp_plan *plan = NULL;
    struct sp_error error;

    return sp_plan_compose(&request, &plan, &error) == SP_OK ? plan : NULL;
}

static struct sp_plan *make_named(const char *name, uint32_t p, uint32_t v, uint32_t n, uint32_t m)
{
    struct sp_plan *plan = make_plan(sp_schedule_find(name), p, v, n, m);

    cr_assert_not_null(plan, "%s refuses p %u v %u n %u m %u", name, p, v, n, m);
    return plan;
}

/* Freed with free. */
static char *export_text(const struct sp_plan *plan, enum sp_export format)
{
    struct sp_error error;
    size_t size;
    char *text = NULL;
    FILE *stream = open_memstream(&text, &size);

    if (format == SP_EXPORT_MEGATRON)
        sp_export_megatron(plan, stream);
    else
        cr_assert_eq(
            (format == SP_EXPORT_TORCH ? sp_export_torch : sp_export_torch_comms)(plan, stream, &error),
            SP_OK, "%s", error.message);
    fclose(stream);
    return text;
}

static struct sp_plan *import_text(const char *text)
{
    char path[] = "/tmp/test_export_XXXXXX";
    int file = mkstemp(path);
    struct sp_plan *plan = NULL;
    struct sp_error error;

    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    cr_assert_eq(sp_import_torch(path, &costs, 1, &plan, &error), SP_OK, "%d:%d: %s", error.line,
                 error.column, error.message);
    unlink(path);
    return plan;
}

static void remove_directory(const char *path, uint32_t ranks)
{
    char name[64];

    snprintf(name, sizeof(name), "%s/config.json", path);
    unlink(name);
    for (uint32_t r = 0; r < ranks; r++) {
        snprintf(name, sizeof(name), "%s/pp_rank_%u.json", path, r);
        unlink(name);
    }
    rmdir(path);
}

/* Written as a Primus timeline, read again. */
static struct sp_plan *through_primus(struct sp_plan *plan)
{
    char path[] = "/tmp/test_export_XXXXXX";
    struct simulated s = simulate_plan(plan, SP_SIM_LINKS);
    struct sp_plan *again = NULL;
    struct sp_error error;

    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(sp_timeline_write_primus(&s.timeline, path, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_import_primus(path, NULL, 0, &again, &error), SP_OK, "%s: %s: %s", error.source,
                 error.path, error.message);
    remove_directory(path, plan->order.device_count);
    s.plan = NULL;
    drop_simulated(&s);
    return again;
}

static bool same_pass(const struct sp_pass *a, const struct sp_pass *b, uint32_t slices)
{
    return a->kind == b->kind && a->stage == b->stage && a->joined == b->joined && b->slice == 0 &&
           b->microbatch == a->microbatch * slices + a->slice;
}

static bool has_word(const struct sp_pass *pass)
{
    return pass->kind == SP_PASS_F || pass->kind == SP_PASS_I || pass->kind == SP_PASS_W ||
           pass->kind == SP_PASS_B;
}

/* The order of `again` is that of plan: slices as microbatches, without the passes that have no word. */
static void expect_same_order(const struct sp_plan *plan, const struct sp_plan *again, const char *what)
{
    cr_assert_eq(plan->order.device_count, again->order.device_count, "%s", what);
    for (uint32_t d = 0; d < plan->order.device_count; d++) {
        const struct sp_pass *pass = again->order.passes + again->order.begin[d];
        for (uint64_t i = plan->order.begin[d]; i < plan->order.begin[d + 1]; i++)
            if (has_word(&plan->order.passes[i]))
                cr_assert(same_pass(&plan->order.passes[i], pass++, plan->slice_count),
                          "%s, %s: device %u, pass %llu", plan->schedule, what, d, (unsigned long long)i);
        cr_assert_eq(pass, again->order.passes + again->order.begin[d + 1]);
    }
}

static void check_torch(const struct sp_plan *plan, enum sp_export format)
{
    char *text = export_text(plan, format), *text_again;
    struct sp_plan *again = import_text(text);

    expect_same_order(plan, again, sp_export_names[format]);
    text_again = export_text(again, format);
    cr_assert_str_eq(text, text_again, "%s", plan->schedule);
    sp_plan_destroy(again);
    free(text);
    free(text_again);
}

static int held_by_primus;

static void check_primus(struct sp_plan *plan)
{
    unsigned losses;
    struct sp_error error;

    if (sp_export_check(plan, SP_EXPORT_PRIMUS, true, &losses, &error)) {
        cr_assert_eq(error.status, SP_UNSUPPORTED);
        return;
    }
    struct sp_plan *again = through_primus(plan);
    held_by_primus++;
    expect_same_order(plan, again, "primus");
    for (uint32_t s = 0; s < plan->stage_count; s++)
        cr_assert_eq(again->stages[s].device, plan->stages[s].device);
    sp_plan_destroy(again);
}

static const uint32_t device_counts[] = {2, 3, 4, 8};
static const uint32_t chunk_counts[] = {1, 2, 3};
static const uint32_t slice_counts[] = {1, 4};
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Every schedule in every shape that it takes. Returns how many there were. */
static int for_each_plan(const struct sp_schedule *schedule, void (*act)(struct sp_plan *))
{
    int count = 0;

    for (size_t p = 0; p < COUNT(device_counts); p++)
        for (size_t v = 0; v < COUNT(chunk_counts); v++)
            for (size_t n = 0; n < COUNT(slice_counts); n++)
                for (uint32_t m = 1; m <= 3; m++) {
                    struct sp_plan *plan = make_plan(schedule, device_counts[p], chunk_counts[v],
                                                     slice_counts[n], m == 3 ? 5 : m * device_counts[p]);
                    if (!plan)
                        continue;
                    act(plan);
                    sp_plan_destroy(plan);
                    count++;
                }
    return count;
}

/* Microbatches with paths of their own: no other framework has them. */
static void check_refused(const struct sp_plan *plan)
{
    struct sp_error error;
    unsigned losses;

    for (int format = 0; format < SP_EXPORT_CHROME; format++) {
        cr_expect_eq(sp_export_check(plan, (enum sp_export)format, true, &losses, &error), SP_UNSUPPORTED);
        cr_expect_not_null(strstr(error.message, "their own paths"), "%s", error.message);
    }
}

static void check_round_trips(struct sp_plan *plan)
{
    if (plan->path_begin) {
        check_refused(plan);
        return;
    }
    check_torch(plan, SP_EXPORT_TORCH);
    check_torch(plan, SP_EXPORT_TORCH_COMMS);
}

Test(export, torch_returns_every_order)
{
    for (int i = 0; sp_schedules[i]; i++)
        cr_expect_gt(for_each_plan(sp_schedules[i], check_round_trips), 0, "%s", sp_schedules[i]->name);
}

Test(export, primus_returns_every_order_that_it_can_hold)
{
    for (int i = 0; sp_schedules[i]; i++)
        for_each_plan(sp_schedules[i], check_primus);
    cr_expect_gt(held_by_primus, 100);
}

/* What is left out is what the plan has, and without leave nothing is. */
static void check_losses(struct sp_plan *plan)
{
    unsigned losses = 0;
    struct sp_error error;
    bool whole = plan->slice_count == 1 && !strstr(plan->schedule, "po-");

    if (plan->path_begin)
        return;
    cr_expect_eq(sp_export_check(plan, SP_EXPORT_TORCH, true, &losses, &error), SP_OK);
    cr_expect_eq(losses == 0, whole, "%s", plan->schedule);
    cr_expect_eq(sp_export_check(plan, SP_EXPORT_TORCH, false, &losses, &error),
                 whole ? SP_OK : SP_UNSUPPORTED, "%s", plan->schedule);
    cr_expect(whole || strstr(error.message, plan->slice_count > 1 ? "slices" : "offload"), "%s",
              error.message);
    cr_expect_eq(sp_export_check(plan, SP_EXPORT_CHROME, false, &losses, &error), SP_OK);
    cr_expect_eq(losses, 0);
}

Test(export, losses_are_named)
{
    for (int i = 0; sp_schedules[i]; i++)
        for_each_plan(sp_schedules[i], check_losses);
}

/* --- PyTorch's own files -------------------------------------------------------------------------------- */

static char *read_text(const char *path)
{
    struct sp_error error;
    char *text;
    size_t size;

    cr_assert_eq(sp_file_read(path, 1 << 20, &text, &size, &error), SP_OK, "%s", error.message);
    return text;
}

/* pytorch test/distributed/pipelining/artifacts/dualpipev_4rank_10mb.csv */
Test(export, pytorchs_dualpipev_is_ours_byte_for_byte)
{
    char *text = read_text("tests/data/peers/torch_dualpipev_4rank_10mb.csv");
    struct sp_plan *imported = import_text(text);
    struct sp_plan *ours = make_named("dualpipev", 4, 2, 1, 10);
    char *again = export_text(imported, SP_EXPORT_TORCH);
    char *out = export_text(ours, SP_EXPORT_TORCH);

    expect_same_order(ours, imported, "artifact");
    cr_expect_str_eq(again, text);
    cr_expect_str_eq(out, text);
    free(again);
    free(out);
    sp_free(text);
    sp_plan_destroy(imported);
    sp_plan_destroy(ours);
}

/* pytorch test/distributed/pipelining/artifacts/zb1p_2rank_2stagep_comms.csv: where PyTorch's lowering puts
 * sends and receives. */
Test(export, messages_stand_where_pytorch_puts_them)
{
    char *text = read_text("tests/data/peers/torch_zb1p_2rank_2stage_comms.csv");
    struct sp_plan *imported = import_text(text);
    char *again = export_text(imported, SP_EXPORT_TORCH_COMMS);

    cr_expect_str_eq(again, text);
    free(again);
    sp_free(text);
    sp_plan_destroy(imported);
}

Test(export, messages_of_a_pair_follow_it)
{
    struct sp_plan *plan = import_text("0F0,0F1,(0F2;0B0)OVERLAP_F_B,0B1,0B2\n1F0,1B0,1F1,1B1,1F2,1B2\n");
    char *text = export_text(plan, SP_EXPORT_TORCH_COMMS);

    cr_expect_str_eq(text, "0F0,0SEND_F0,0F1,0SEND_F1,0RECV_B0,(0F2;0B0)OVERLAP_F_B,0SEND_F2,0RECV_B1,0B1,"
                           "0RECV_B2,0B2\n"
                           "1RECV_F0,1F0,1RECV_F1,1B0,1SEND_B0,1RECV_F2,1F1,1B1,1SEND_B1,1F2,1B2,1SEND_B2\n");
    free(text);
    sp_plan_destroy(plan);
}

/* --- Megatron ------------------------------------------------------------------------------------------- */

static void expect_layout(const char *text, uint32_t count, const uint32_t *layers)
{
    struct sp_error error;
    uint32_t *found, found_count;

    cr_assert_eq(sp_megatron_layout_parse(text, &found_count, &found, &error), SP_OK, "%s", error.message);
    cr_assert_eq(found_count, count, "%s: %u stages", text, found_count);
    for (uint32_t s = 0; s < count; s++)
        cr_expect_eq(found[s], layers[s], "%s: stage %u has %u", text, s, found[s]);
    sp_free(found);
}

Test(export, reads_layouts_of_megatron)
{
    expect_layout("EttL", 1, (uint32_t[]){2});
    expect_layout("Et*3|t*4|t*3,L", 3, (uint32_t[]){3, 4, 3});
    expect_layout("E|(t|)*3L", 5, (uint32_t[]){0, 1, 1, 1, 0});
    expect_layout("Ett|(tt|)*2,t|L", 5, (uint32_t[]){2, 2, 2, 1, 0});
    /* Megatron-LM's guide to custom layouts, its multi-token layer left out. */
    uint32_t deep[32] = {3};
    for (uint32_t s = 1; s < 30; s++)
        deep[s] = 2;
    expect_layout("Et*3|(tt|)*29,|L", 32, deep);
}

Test(export, refuses_bad_layouts)
{
    static const char *const bad[][2] = {
        {"", "embedding"},           {"t|tL", "embedding"},          {"Et|t", "output layer"},
        {"EtEtL", "embedding"},      {"EtLt", "nothing may"},        {"Et*L", "number"},
        {"E(t|(t|)*2)*2L", "group"}, {"E(t|*2L", "group"},           {"Etm|L", "not supported"},
        {"EtxL", "expected E"},      {"E(t|*9999)*9999L", "stages"}, {"E(t*9999)*9999L", "layers"},
    };

    for (size_t i = 0; i < COUNT(bad); i++) {
        struct sp_error error;
        uint32_t *layers, count;
        cr_expect_eq(sp_megatron_layout_parse(bad[i][0], &count, &layers, &error), SP_INPUT, "%s", bad[i][0]);
        cr_expect_not_null(strstr(error.message, bad[i][1]), "%s: %s", bad[i][0], error.message);
    }
}

static struct sp_plan *make_modelled(const char *schedule, uint32_t p, uint32_t v, uint32_t group, uint32_t m)
{
    static struct sp_model model;
    static struct sp_cluster cluster;
    static struct sp_profile profile;
    struct sp_error error;
    struct sp_plan *plan = NULL;

    cr_assert_eq(sp_model_read("llama-3.1-8b", &model, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_cluster_read("h100", &cluster, &error), SP_OK, "%s", error.message);
    cr_assert_eq(sp_profile_read(cluster.profile, &profile, &error), SP_OK, "%s", error.message);
    struct sp_request request = {.schedule = schedule,
                                 .model = &model,
                                 .cluster = &cluster,
                                 .profile = &profile,
                                 .parallel = {.pipeline = p, .tensor = 2, .data = 3},
                                 .chunks = v,
                                 .group = group,
                                 .sequence_tokens = 8192,
                                 .microbatches = m};
    cr_assert_eq(sp_plan_compose(&request, &plan, &error), SP_OK, "%s", error.message);
    return plan;
}

Test(export, writes_options_of_megatron)
{
    struct sp_plan *plan = make_modelled("interleaved", 4, 2, 6, 12);
    char *text = export_text(plan, SP_EXPORT_MEGATRON);

    cr_expect_str_eq(text, "--num-layers 32\n"
                           "--pipeline-model-parallel-size 4\n"
                           "--pipeline-model-parallel-layout 'Et*4|(t*4|)*6t*4L'\n"
                           "--microbatch-group-size-per-virtual-pipeline-stage 6\n"
                           "--tensor-model-parallel-size 2\n"
                           "--context-parallel-size 1\n"
                           "--seq-length 8192\n"
                           "--micro-batch-size 1\n"
                           "--global-batch-size 36\n");
    free(text);
    sp_plan_destroy(plan);
}

/* The layout says the stages' layers, whatever they are. */
Test(export, layouts_return)
{
    for (uint32_t p = 1; p <= 8; p++)
        for (uint32_t v = 1; v <= 4; v++) {
            struct sp_plan *plan = make_modelled("looped-bfs", p, v, 0, 8);
            char *text = export_text(plan, SP_EXPORT_MEGATRON);
            uint32_t layers[32];
            for (uint32_t s = 0; s < p * v; s++)
                layers[s] = plan->stages[s].layer_count;
            char *layout = strchr(text, '\'') + 1;
            *strchr(layout, '\'') = '\0';
            expect_layout(layout, p * v, layers);
            free(text);
            sp_plan_destroy(plan);
        }
}

Test(export, knows_megatrons_orders)
{
    static const struct {
        char schedule[16];
        uint32_t v, group;
        bool is;
    } rows[] = {{"1f1b", 1, 0, true},       {"interleaved", 2, 0, true}, {"interleaved", 4, 6, true},
                {"gpipe", 1, 0, false},     {"gis", 2, 0, false},        {"zb-h1", 1, 0, false},
                {"looped-bfs", 2, 0, false}};

    for (size_t i = 0; i < COUNT(rows); i++)
        for (uint32_t m = 4; m <= 16; m += 4) {
            struct sp_plan *plan;
            struct sp_error error;
            unsigned losses = 0;
            /* Megatron wants p ≤ group ≤ m, and a last group that fills the pipeline. */
            if (rows[i].group > m || (rows[i].group && m % rows[i].group != 0 && m % rows[i].group < 4))
                continue;
            plan = make_modelled(rows[i].schedule, 4, rows[i].v, rows[i].group, m);
            cr_assert_eq(sp_export_check(plan, SP_EXPORT_MEGATRON, true, &losses, &error), SP_OK, "%s",
                         error.message);
            if (strcmp(rows[i].schedule, "looped-bfs") != 0 || m > 4)
                cr_expect_eq(!(losses & 1u << SP_LOSS_ORDER), rows[i].is, "%s m %u", rows[i].schedule, m);
            sp_plan_destroy(plan);
        }
}

Test(export, says_what_a_format_can_never_hold)
{
    static const struct {
        char schedule[16];
        enum sp_export format;
        char part[24];
    } rows[] = {{"chimera", SP_EXPORT_PRIMUS, "on one device"},
                {"1f1b", SP_EXPORT_MEGATRON, "explicit costs"}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sp_plan *plan = make_named(rows[i].schedule, 4, 1, 1, 4);
        struct sp_error error;
        unsigned losses;
        cr_expect_eq(sp_export_check(plan, rows[i].format, true, &losses, &error), SP_UNSUPPORTED);
        cr_expect_not_null(strstr(error.message, rows[i].part), "%s", error.message);
        sp_plan_destroy(plan);
    }
    struct sp_plan *plan = make_modelled("zb-v", 4, 2, 0, 4);
    struct sp_error error;
    unsigned losses;
    cr_expect_eq(sp_export_check(plan, SP_EXPORT_MEGATRON, true, &losses, &error), SP_UNSUPPORTED);
    cr_expect_not_null(strstr(error.message, "in turn; stage 4 is on 3"), "%s", error.message);
    sp_plan_destroy(plan);
}

/* --- Primus --------------------------------------------------------------------------------------------- */

Test(export, primus_times_become_costs)
{
    struct sp_plan *plan = make_named("zb-h1", 4, 1, 1, 8);
    struct sp_plan *again = through_primus(plan);

    for (uint32_t s = 0; s < 4; s++) {
        cr_expect_eq(again->costs->forward_ns[s], forward_ns);
        cr_expect_eq(again->costs->input_ns[s], input_ns);
        cr_expect_eq(again->costs->weight_ns[s], weight_ns);
    }
    sp_plan_destroy(again);
    sp_plan_destroy(plan);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

#define PRIMUS_CONFIG "{\"pp_size\": 1, \"vpp_size\": 1, \"micro_batches\": 1}"
#define PRIMUS_RANK(starts, ends, chunk)                                                                     \
    "{\"0\": {\"fwd_start\": [" starts "], \"fwd_end\": [" ends                                              \
    "], \"fwd_minibatch\": [0], \"fwd_chunk\": [" chunk                                                      \
    "], \"bwd_start\": [2], \"bwd_end\": [4], \"bwd_minibatch\": [0], \"bwd_chunk\": [0], \"wgrad_start\": " \
    "[], "                                                                                                   \
    "\"wgrad_end\": [], \"wgrad_minibatch\": [], \"wgrad_chunk\": []}}"

Test(export, refuses_bad_timelines_of_primus)
{
    static const struct {
        const char *config, *rank, *part; /* part: of the message, "" where it is fine */
    } rows[] = {
        {PRIMUS_CONFIG, PRIMUS_RANK("0", "2", "0"), ""},
        {"{\"pp_size\": 0, \"vpp_size\": 1, \"micro_batches\": 1}", PRIMUS_RANK("0", "2", "0"), "expected"},
        {"{\"pp_size\": 1, \"micro_batches\": 1}", PRIMUS_RANK("0", "2", "0"), "vpp_size"},
        {"{\"pp_size\": 2, \"vpp_size\": 1, \"micro_batches\": 1}", PRIMUS_RANK("0", "2", "0"),
         "cannot open"},
        {"{\"pp_size\": 1, \"vpp_size\": 1, \"micro_batches\": 9}", PRIMUS_RANK("0", "2", "0"), "too few"},
        {PRIMUS_CONFIG, PRIMUS_RANK("0", "2, 3", "0"), "as many entries"},
        {PRIMUS_CONFIG, PRIMUS_RANK("3", "2", "0"), "expected"},
        {PRIMUS_CONFIG, PRIMUS_RANK("0", "2", "1"), "expected"},
        {PRIMUS_CONFIG, PRIMUS_RANK("true", "2", "0"), "expected"},
        {PRIMUS_CONFIG, PRIMUS_RANK("5", "6", "0"), "0B0"}, /* its backward before it */
        {PRIMUS_CONFIG, "{}", "iteration"},
        {PRIMUS_CONFIG, "{\"0\": {}}", "fwd_start"},
        {PRIMUS_CONFIG, "{\"0\": 1}", "fwd_start"},
        {PRIMUS_CONFIG, "[", "pp_rank_0"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        char folder[] = "/tmp/test_export_XXXXXX", text[1400];
        struct sp_plan *plan = NULL;
        struct sp_error error;
        cr_assert_not_null(mkdtemp(folder));
        write_file(folder, "config.json", rows[i].config);
        write_file(folder, "pp_rank_0.json", rows[i].rank);
        enum sp_status status = sp_import_primus(folder, NULL, 0, &plan, &error);
        remove_directory(folder, 1);
        cr_expect_eq(status == SP_OK, *rows[i].part == '\0', "row %zu: %s", i, error.message);
        if (status != SP_OK)
            cr_expect_not_null(strstr(sp_error_text(&error, text, sizeof(text)), rows[i].part), "row %zu: %s",
                               i, text);
        sp_plan_destroy(plan);
    }
}

Test(export, survives_short_memory)
{
    struct sp_plan *plan = make_named("dualpipev", 4, 2, 1, 10);
    enum sp_status status = SP_MEMORY;

    for (int64_t n = 0; status == SP_MEMORY && n < 1000; n++) {
        struct sp_error error;
        FILE *stream = fopen("/dev/null", "w");
        sp_alloc_fail_after(n);
        status = sp_export_torch_comms(plan, stream, &error);
        sp_alloc_fail_after(-1);
        fclose(stream);
    }
    cr_expect_eq(status, SP_OK);
    sp_plan_destroy(plan);
}
