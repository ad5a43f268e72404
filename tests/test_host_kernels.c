/* SPDX-License-Identifier: Apache-2.0 */
/* Every set of kernels against the plain one, on random shapes. What is registered is tested. */
#include "host_support.h"

enum { TRIALS = 12 };

static const struct sp_host_kernels *plain(void)
{
    return sp_host_kernels_find("plain");
}

/* Calls check with each set that this machine runs, the plain one too, TRIALS times. */
static void each_set(void (*check)(const struct sp_host_kernels *set, struct random *random))
{
    for (int i = 0; sp_host_kernel_sets[i]; i++) {
        struct random random = {1};
        for (int trial = 0; sp_host_kernel_sets[i]->probe() && trial < TRIALS; trial++)
            check(sp_host_kernel_sets[i], &random);
    }
}

static int64_t between(struct random *random, int64_t least, int64_t most)
{
    return least + random_below(random, (uint32_t)(most - least + 1));
}

Test(host_kernels, registry_has_names_and_a_best)
{
    cr_assert_not_null(sp_host_kernels_best());
    cr_assert_eq(sp_host_kernels_find(sp_host_kernels_best()->name), sp_host_kernels_best());
    cr_assert_null(sp_host_kernels_find("abacus"));
}

static void check_gemm(const struct sp_host_kernels *set, struct random *random)
{
    int64_t m = between(random, 1, 140), n = between(random, 1, 300), k = between(random, 1, 300);
    bool ta = random_one_in(random, 2), tb = random_one_in(random, 2);
    struct sp_host_matrix a = {random_floats(random, m * k), ta ? m : k, ta};
    struct sp_host_matrix b = {random_floats(random, k * n), tb ? k : n, tb};
    int64_t pitch = n + between(random, 0, 3);
    float *c = random_floats(random, m * pitch), *expected = copy_floats(c, m * pitch);
    float alpha = random_one_in(random, 2) ? 1 : 0.5f, beta = (float)random_below(random, 3) / 2;
    set->gemm(m, n, k, alpha, a, b, beta, c, pitch);
    plain()->gemm(m, n, k, alpha, a, b, beta, expected, pitch);
    assert_close(c, expected, m * pitch, set->name);
    free((float *)a.data), free((float *)b.data), free(c), free(expected);
}

Test(host_kernels, gemm)
{
    each_set(check_gemm);
}

Test(host_kernels, gemm_with_beta_0_reads_no_c)
{
    for (int i = 0; sp_host_kernel_sets[i]; i++) {
        if (!sp_host_kernel_sets[i]->probe())
            continue;
        float x = 2, y = 3, c = NAN;
        struct sp_host_matrix a = {&x, 1, false}, b = {&y, 1, false};
        sp_host_kernel_sets[i]->gemm(1, 1, 1, 1, a, b, 0, &c, 1);
        cr_assert_eq(c, 6);
        sp_host_kernel_sets[i]->gemm(1, 1, 0, 1, a, b, 0, &c, 1);
        cr_assert_eq(c, 0, "an empty sum is 0");
    }
}

static void check_rmsnorm(const struct sp_host_kernels *set, struct random *random)
{
    int64_t rows = between(random, 1, 9), width = between(random, 1, 200), count = rows * width;
    float *x = random_floats(random, count), *w = random_floats(random, width);
    float *dy = random_floats(random, count), *residual = random_floats(random, count);
    float *y = random_floats(random, count), *expected = random_floats(random, count);
    float *dw = random_floats(random, width), *expected_dw = copy_floats(dw, width);
    set->rmsnorm(rows, width, x, w, 1e-5f, y);
    plain()->rmsnorm(rows, width, x, w, 1e-5f, expected);
    assert_close(y, expected, count, set->name);
    const float *before = random_one_in(random, 2) ? residual : NULL;
    plain()->rmsnorm_backward(rows, width, x, w, 1e-5f, dy, before, expected, expected_dw);
    memcpy(y, x, (size_t)count * sizeof *y);
    set->rmsnorm_backward(rows, width, y, w, 1e-5f, dy, before, y, dw); /* dx over x */
    assert_close(y, expected, count, set->name);
    assert_close(dw, expected_dw, width, set->name);
    memset(dw, 0, (size_t)width * sizeof *dw);
    set->rmsnorm_backward(rows, width, x, w, 1e-5f, dy, before, dy, dw); /* dx over dy */
    assert_close(dy, expected, count, set->name);
    free(x), free(w), free(dy), free(residual), free(y), free(expected), free(dw), free(expected_dw);
}

Test(host_kernels, rmsnorm)
{
    each_set(check_rmsnorm);
}

static void check_rotary(const struct sp_host_kernels *set, struct random *random)
{
    int64_t tokens = between(random, 1, 5), heads = between(random, 1, 4), dim = 2 * between(random, 1, 40);
    int64_t count = tokens * heads * dim;
    float *cosine = random_floats(random, tokens * dim / 2), *sine = random_floats(random, tokens * dim / 2);
    float *x = random_floats(random, count), *start = copy_floats(x, count),
          *expected = copy_floats(x, count);
    set->rotary(tokens, heads, dim, cosine, sine, -1, x);
    plain()->rotary(tokens, heads, dim, cosine, sine, -1, expected);
    assert_close(x, expected, count, set->name);
    memcpy(x, start, (size_t)count * sizeof *x);
    sp_host_rotary_table(100000, tokens, dim, 500000, cosine, sine);
    set->rotary(tokens, heads, dim, cosine, sine, 1, x);
    set->rotary(tokens, heads, dim, cosine, sine, -1, x);
    assert_close(x, start, count, "there and back");
    free(cosine), free(sine), free(x), free(start), free(expected);
}

Test(host_kernels, rotary)
{
    each_set(check_rotary);
}

static void check_swiglu(const struct sp_host_kernels *set, struct random *random)
{
    int64_t count = between(random, 1, 300);
    float *gate = random_floats(random, count), *up = random_floats(random, count);
    float *dact = random_floats(random, count), *act = random_floats(random, count);
    float *expected = random_floats(random, count), *expected_up = random_floats(random, count);
    for (int64_t i = 0; i < count; i++)
        gate[i] *= 20;
    set->swiglu(count, gate, up, act);
    plain()->swiglu(count, gate, up, expected);
    assert_close(act, expected, count, set->name);
    plain()->swiglu_backward(count, gate, up, dact, expected, expected_up);
    set->swiglu_backward(count, gate, up, dact, gate, up); /* in place */
    assert_close(gate, expected, count, set->name);
    assert_close(up, expected_up, count, set->name);
    free(gate), free(up), free(dact), free(act), free(expected), free(expected_up);
}

Test(host_kernels, swiglu)
{
    each_set(check_swiglu);
}

Test(host_kernels, swiglu_at_the_ends_of_the_range)
{
    for (int i = 0; sp_host_kernel_sets[i]; i++) {
        if (!sp_host_kernel_sets[i]->probe())
            continue;
        float gate[2] = {-1e4f, 1e4f}, up[2] = {1, 1}, act[2];
        sp_host_kernel_sets[i]->swiglu(2, gate, up, act);
        cr_assert_lt(fabsf(act[0]), 1e-30f, "%s: %g", sp_host_kernel_sets[i]->name, (double)act[0]);
        cr_assert_eq(act[1], 1e4f);
    }
}

static void check_softmax(const struct sp_host_kernels *set, struct random *random)
{
    int64_t rows = between(random, 1, 5), columns = between(random, 1, 300), count = rows * columns;
    float *x = random_floats(random, count), *lse = random_floats(random, rows);
    for (int64_t i = 0; i < count; i++)
        x[i] = 30 * x[i] + 1000;
    float *expected = copy_floats(x, count), *expected_lse = random_floats(random, rows);
    set->row_lse(rows, columns, x, lse);
    plain()->row_lse(rows, columns, x, expected_lse);
    assert_close(lse, expected_lse, rows, set->name);
    /* Logits of 1000 are only known to 6e-5, so compare by the same lse. */
    set->row_softmax(rows, columns, expected_lse, 0.25f, x);
    plain()->row_softmax(rows, columns, expected_lse, 0.25f, expected);
    assert_close(x, expected, count, set->name);
    free(x), free(lse), free(expected), free(expected_lse);
}

Test(host_kernels, row_softmax)
{
    each_set(check_softmax);
}

static void check_adamw(const struct sp_host_kernels *set, struct random *random)
{
    int64_t count = between(random, 1, 100);
    struct sp_host_adamw settings = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0};
    float *w = random_floats(random, count), *expected = copy_floats(w, count);
    float *m = calloc((size_t)count, sizeof *m), *v = calloc((size_t)count, sizeof *v);
    float *expected_m = calloc((size_t)count, sizeof *m), *expected_v = calloc((size_t)count, sizeof *v);
    for (settings.step = 1; settings.step <= 3; settings.step++) {
        float *gradient = random_floats(random, count);
        set->adamw(&settings, count, gradient, w, m, v);
        plain()->adamw(&settings, count, gradient, expected, expected_m, expected_v);
        set->sgd(0.01f, count, gradient, w);
        plain()->sgd(0.01f, count, gradient, expected);
        free(gradient);
    }
    assert_close(w, expected, count, set->name);
    assert_close(m, expected_m, count, set->name);
    assert_close(v, expected_v, count, set->name);
    free(w), free(m), free(v), free(expected), free(expected_m), free(expected_v);
}

Test(host_kernels, optimizers)
{
    each_set(check_adamw);
}

static void check_sums(const struct sp_host_kernels *set, struct random *random)
{
    int64_t rows = between(random, 1, 20), columns = between(random, 1, 50), count = rows * columns;
    float *x = random_floats(random, count), *y = random_floats(random, count);
    float *expected = copy_floats(y, count);
    set->column_sum(rows, columns, x, y);
    plain()->column_sum(rows, columns, x, expected);
    assert_close(y, expected, count, set->name);
    set->add(count, x, y);
    plain()->add(count, x, expected);
    assert_close(y, expected, count, set->name);
    free(x), free(y), free(expected);
}

Test(host_kernels, sums)
{
    each_set(check_sums);
}

/* A random attention over one to three runs of keys that end with the slice's own. */
struct attention_case {
    struct sp_host_attention call;
    struct sp_host_keys runs[3];
    int64_t queries; /* floats of q */
    int64_t rows;    /* of lse */
    int64_t keys[3]; /* floats of each run's k */
};

static void fill_run(struct attention_case *test, int run, int64_t begin, int64_t end, struct random *random)
{
    const struct sp_host_attention *call = &test->call;
    struct sp_host_keys *keys = &test->runs[run];
    *keys = (struct sp_host_keys){.begin = begin, .count = end - begin};
    keys->pitch = keys->count + between(random, 0, 2);
    test->keys[run] = call->sequences * keys->pitch * call->kv_heads * call->head_dim;
    keys->k = random_floats(random, test->keys[run]);
    keys->v = random_floats(random, test->keys[run]);
    keys->dk = random_floats(random, test->keys[run]);
    keys->dv = random_floats(random, test->keys[run]);
}

static void attention_case_init(struct attention_case *test, struct random *random)
{
    static const int64_t dims[] = {2, 8, 16, 24, 64, 80, 128};
    struct sp_host_attention *call = &test->call;
    int64_t past = between(random, 0, 150), middle = between(random, 0, past);
    *call = (struct sp_host_attention){.runs = test->runs};
    call->sequences = between(random, 1, 2);
    call->kv_heads = between(random, 1, 2);
    call->heads = call->kv_heads * between(random, 1, 3);
    call->head_dim = dims[random_below(random, sizeof dims / sizeof *dims)];
    call->query_begin = past + between(random, 0, 1) * 5; /* a gap: keys that others hold */
    call->query_count = between(random, 1, 100);
    test->queries = call->sequences * call->query_count * call->heads * call->head_dim;
    test->rows = call->sequences * call->query_count * call->heads;
    call->run_count = 3;
    fill_run(test, 0, 0, middle, random);
    fill_run(test, 1, middle, past, random);
    fill_run(test, 2, call->query_begin, call->query_begin + call->query_count, random);
    call->q = random_floats(random, test->queries);
    call->d_o = random_floats(random, test->queries);
    call->o = random_floats(random, test->queries);
    call->dq = random_floats(random, test->queries);
    call->lse = random_floats(random, test->rows);
    for (int64_t i = 0; i < test->queries; i++)
        ((float *)call->q)[i] *= 4; /* a spread of probabilities */
}

static void attention_case_finish(struct attention_case *test)
{
    for (int i = 0; i < 3; i++)
        free((float *)test->runs[i].k), free((float *)test->runs[i].v), free(test->runs[i].dk),
            free(test->runs[i].dv);
    free((float *)test->call.q), free((float *)test->call.d_o);
    free(test->call.o), free(test->call.dq), free(test->call.lse);
}

/* Its outputs anew, so that two sets can fill one each. */
static struct attention_case attention_case_copy(const struct attention_case *from)
{
    struct attention_case copy = *from;
    copy.call.runs = NULL; /* set by the holder, see runs_of */
    copy.call.q = copy_floats(from->call.q, from->queries);
    copy.call.d_o = copy_floats(from->call.d_o, from->queries);
    copy.call.o = copy_floats(from->call.o, from->queries);
    copy.call.dq = copy_floats(from->call.dq, from->queries);
    copy.call.lse = copy_floats(from->call.lse, from->rows);
    for (int i = 0; i < 3; i++) {
        copy.runs[i].k = copy_floats(from->runs[i].k, from->keys[i]);
        copy.runs[i].v = copy_floats(from->runs[i].v, from->keys[i]);
        copy.runs[i].dk = copy_floats(from->runs[i].dk, from->keys[i]);
        copy.runs[i].dv = copy_floats(from->runs[i].dv, from->keys[i]);
    }
    return copy;
}

static void check_attention(const struct sp_host_kernels *set, struct random *random)
{
    struct attention_case test;
    attention_case_init(&test, random);
    struct attention_case expected = attention_case_copy(&test);
    expected.call.runs = expected.runs;
    set->attention(&test.call);
    plain()->attention(&expected.call);
    assert_close(test.call.o, expected.call.o, test.queries, set->name);
    assert_close(test.call.lse, expected.call.lse, test.rows, set->name);
    set->attention_backward(&test.call);
    plain()->attention_backward(&expected.call);
    assert_close(test.call.dq, expected.call.dq, test.queries, set->name);
    for (int i = 0; i < 3; i++) {
        assert_close(test.runs[i].dk, expected.runs[i].dk, test.keys[i], set->name);
        assert_close(test.runs[i].dv, expected.runs[i].dv, test.keys[i], set->name);
    }
    attention_case_finish(&test);
    attention_case_finish(&expected);
}

Test(host_kernels, attention)
{
    each_set(check_attention);
}

/* Each run by itself, merged, is the whole; and its backward, summed, too. */
static void check_merge(const struct sp_host_kernels *set, struct random *random)
{
    struct attention_case whole;
    attention_case_init(&whole, random);
    struct attention_case parts = attention_case_copy(&whole);
    float *o = random_floats(random, whole.queries), *lse = random_floats(random, whole.rows);
    float *dq = calloc((size_t)whole.queries, sizeof *dq);
    struct sp_host_attention part = parts.call;
    plain()->attention(&whole.call);
    part.run_count = 1;
    for (int i = 0; i < 3; i++) {
        part.runs = &parts.runs[i];
        set->attention(&part);
        if (i == 0)
            memcpy(o, part.o, (size_t)whole.queries * sizeof *o),
                memcpy(lse, part.lse, (size_t)whole.rows * sizeof *lse);
        else
            set->attention_merge(part.sequences, part.query_count, part.heads, part.head_dim, part.o,
                                 part.lse, o, lse);
    }
    assert_close(o, whole.call.o, whole.queries, set->name);
    assert_close(lse, whole.call.lse, whole.rows, set->name);
    plain()->attention_backward(&whole.call);
    memcpy(part.o, o, (size_t)whole.queries * sizeof *o),
        memcpy(part.lse, lse, (size_t)whole.rows * sizeof *lse);
    for (int i = 2; i >= 0; i--) {
        part.runs = &parts.runs[i];
        set->attention_backward(&part);
        set->add(whole.queries, part.dq, dq);
        assert_close(parts.runs[i].dk, whole.runs[i].dk, whole.keys[i], set->name);
        assert_close(parts.runs[i].dv, whole.runs[i].dv, whole.keys[i], set->name);
    }
    assert_close(dq, whole.call.dq, whole.queries, set->name);
    attention_case_finish(&whole);
    attention_case_finish(&parts);
    free(o), free(lse), free(dq);
}

Test(host_kernels, attention_in_parts)
{
    each_set(check_merge);
}

/* Queries before all keys: nothing to see, and a merge with it changes nothing. */
static void check_no_keys(const struct sp_host_kernels *set, struct random *random)
{
    struct attention_case test;
    attention_case_init(&test, random);
    for (int i = 0; i < 3; i++)
        test.runs[i].begin += 10000;
    set->attention(&test.call);
    for (int64_t i = 0; i < test.queries; i++)
        cr_assert_eq(test.call.o[i], 0);
    for (int64_t i = 0; i < test.rows; i++)
        cr_assert(isinf(test.call.lse[i]) && test.call.lse[i] < 0);
    float *o = random_floats(random, test.queries), *lse = random_floats(random, test.rows);
    float *expected = copy_floats(o, test.queries), *expected_lse = copy_floats(lse, test.rows);
    const struct sp_host_attention *call = &test.call;
    set->attention_merge(call->sequences, call->query_count, call->heads, call->head_dim, call->o, call->lse,
                         o, lse);
    cr_assert_arr_eq(o, expected, (size_t)test.queries * sizeof *o);
    cr_assert_arr_eq(lse, expected_lse, (size_t)test.rows * sizeof *lse);
    set->attention_merge(call->sequences, call->query_count, call->heads, call->head_dim, o, lse, call->o,
                         call->lse);
    cr_assert_arr_eq(call->o, expected, (size_t)test.queries * sizeof *o);
    attention_case_finish(&test);
    free(o), free(lse), free(expected), free(expected_lse);
}

Test(host_kernels, attention_without_keys)
{
    each_set(check_no_keys);
}

/* Twice the same call, the same bits. */
static void check_bits(const struct sp_host_kernels *set, struct random *random)
{
    struct attention_case test;
    attention_case_init(&test, random);
    struct attention_case again = attention_case_copy(&test);
    again.call.runs = again.runs;
    set->attention(&test.call);
    set->attention(&again.call);
    set->attention_backward(&test.call);
    set->attention_backward(&again.call);
    cr_assert_arr_eq(test.call.o, again.call.o, (size_t)test.queries * sizeof(float));
    cr_assert_arr_eq(test.call.dq, again.call.dq, (size_t)test.queries * sizeof(float));
    for (int i = 0; i < 3; i++)
        cr_assert_arr_eq(test.runs[i].dk, again.runs[i].dk, (size_t)test.keys[i] * sizeof(float));
    attention_case_finish(&test);
    attention_case_finish(&again);
}

Test(host_kernels, attention_gives_the_same_bits)
{
    each_set(check_bits);
}

/* dq may be written over q. */
static void check_in_place(const struct sp_host_kernels *set, struct random *random)
{
    struct attention_case test;
    attention_case_init(&test, random);
    struct attention_case again = attention_case_copy(&test);
    again.call.runs = again.runs;
    set->attention(&test.call);
    set->attention(&again.call);
    set->attention_backward(&test.call);
    float *separate = again.call.dq;
    again.call.dq = (float *)again.call.q;
    set->attention_backward(&again.call);
    cr_assert_arr_eq(test.call.dq, again.call.dq, (size_t)test.queries * sizeof(float));
    again.call.dq = separate;
    attention_case_finish(&test);
    attention_case_finish(&again);
}

Test(host_kernels, attention_backward_in_place)
{
    each_set(check_in_place);
}

/* One NaN in a key reaches every later query of its heads, so that a broken run is noticed. */
static void check_nan(const struct sp_host_kernels *set, struct random *random)
{
    struct attention_case test;
    attention_case_init(&test, random);
    ((float *)test.runs[2].k)[0] = NAN;
    set->attention(&test.call);
    cr_assert(isnan(test.call.o[0]), "%s", set->name);
    float x[40] = {0}, lse;
    x[between(random, 0, 39)] = NAN;
    set->row_lse(1, 40, x, &lse);
    cr_assert(isnan(lse), "%s", set->name);
    set->swiglu(40, x, x, x);
    set->row_lse(1, 40, x, &lse);
    cr_assert(isnan(lse), "%s", set->name);
    attention_case_finish(&test);
}

Test(host_kernels, nan_is_not_lost)
{
    each_set(check_nan);
}
