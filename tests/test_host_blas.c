/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "../executor/host/blas.h"
#include "host_support.h"

Test(host_blas, ours_is_always_there)
{
    struct sp_host_math math;
    struct sp_error error;
    cr_assert_eq(sp_host_math_open(NULL, "none", &math, &error), SP_OK);
    cr_assert_eq(math.gemm, math.kernels->gemm);
    cr_assert_str_eq(math.kernels->name, sp_host_kernels_best()->name);
    cr_assert_eq(strncmp(math.blas, "own, ", 5), 0, "%s", math.blas);
}

Test(host_blas, unknown_names_are_refused)
{
    struct sp_host_math math = {.gemm = NULL};
    struct sp_error error;
    cr_assert_eq(sp_host_math_open("abacus", NULL, &math, &error), SP_UNSUPPORTED);
    cr_assert_str_eq(error.message, "kernels 'abacus' are unknown or not for this processor");
    cr_assert_eq(sp_host_math_open(NULL, "libabacus.so", &math, &error), SP_INPUT);
    cr_assert_str_eq(error.message, "BLAS library 'libabacus.so' is not there or has no cblas_sgemm");
    cr_assert_eq(sp_host_math_open(NULL, "libm.so.6", &math, &error), SP_INPUT);
    cr_assert_null(math.gemm, "results are untouched on failure");
}

/* Whatever library is found, it computes what the plain product does. */
static void check_product(const struct sp_host_math *math, struct random *random)
{
    int64_t m = 1 + random_below(random, 70), n = 1 + random_below(random, 70),
            k = 1 + random_below(random, 70);
    bool ta = random_one_in(random, 2), tb = random_one_in(random, 2);
    struct sp_host_matrix a = {random_floats(random, m * k), ta ? m : k, ta};
    struct sp_host_matrix b = {random_floats(random, k * n), tb ? k : n, tb};
    float *c = random_floats(random, m * n), *expected = copy_floats(c, m * n);
    math->gemm(m, n, k, 2, a, b, 1, c, n);
    sp_host_kernels_find("plain")->gemm(m, n, k, 2, a, b, 1, expected, n);
    assert_close(c, expected, m * n, math->blas);
    free((float *)a.data), free((float *)b.data), free(c), free(expected);
}

Test(host_blas, found_library_agrees_with_plain)
{
    struct sp_host_math math;
    struct sp_error error;
    struct random random = {2};
    cr_assert_eq(sp_host_math_open(NULL, NULL, &math, &error), SP_OK);
    for (int i = 0; i < 20; i++)
        check_product(&math, &random);
}

static void *multiply_in_thread(void *argument)
{
    const struct sp_host_math *math = argument;
    struct random random = {3};
    for (int i = 0; i < 20; i++)
        check_product(math, &random);
    return NULL;
}

Test(host_blas, devices_are_threads)
{
    struct sp_host_math math;
    struct sp_error error;
    pthread_t threads[4];
    cr_assert_eq(sp_host_math_open(NULL, NULL, &math, &error), SP_OK);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, multiply_in_thread, &math), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}
