/* SPDX-License-Identifier: Apache-2.0 */
#include "../executor/host/moe.h"
#include "host_support.h"

Test(host_moe, the_largest_logits_are_chosen)
{
    const float logits[2 * 4] = {0, 3, 1, 2, /* */ 5, 5, 5, 5};
    int32_t expert[4];
    float weight[4];
    sp_host_route(2, 4, 2, logits, expert, weight);
    const int32_t expected[4] = {1, 3, 0, 1}; /* of equal ones the first */
    cr_assert_arr_eq(expert, expected, sizeof expected);
    cr_assert_float_eq(weight[0], 1 / (1 + exp(-1)), 1e-6);
    cr_assert_float_eq(weight[0] + weight[1], 1, 1e-6);
    cr_assert_eq(weight[2], 0.5f);
}

Test(host_moe, nan_logits_choose_something)
{
    const float logits[3] = {NAN, NAN, NAN};
    int32_t expert[2];
    float weight[2];
    sp_host_route(1, 3, 2, logits, expert, weight);
    cr_assert(expert[0] == 0 && expert[1] == 1);
    cr_assert(isnan(weight[0]), "and the NaN goes on");
}

Test(host_moe, slots_are_sorted_and_keep_order)
{
    const int32_t expert[6] = {2, 0, 0, 2, 2, 0};
    int32_t begin[SP_HOST_MAX_EXPERTS + 1], slot[6];
    sp_host_route_order(6, 4, expert, begin, slot);
    const int32_t expected_begin[5] = {0, 3, 3, 6, 6}, expected_slot[6] = {3, 0, 1, 4, 5, 2};
    cr_assert_arr_eq(begin, expected_begin, sizeof expected_begin);
    cr_assert_arr_eq(slot, expected_slot, sizeof expected_slot);
}

Test(host_moe, gather_and_scatter_are_transposes)
{
    struct random random = {4};
    const int32_t slot[4] = {2, 0, 3, 1};
    const float weight[4] = {0.5f, 1, 2, -1};
    float *x = random_floats(&random, 2 * 3), *y = random_floats(&random, 4 * 3);
    float gathered[12], scattered[6] = {0};
    sp_host_gather(4, 2, 3, slot, weight, x, gathered);
    sp_host_scatter(4, 2, 3, slot, weight, y, scattered);
    cr_assert_eq(gathered[2 * 3], 0.5f * x[0]);
    double left = 0, right = 0; /* <gather x, y> = <x, scatter y> */
    for (int i = 0; i < 12; i++)
        left += (double)gathered[i] * (double)y[i];
    for (int i = 0; i < 6; i++)
        right += (double)x[i] * (double)scattered[i];
    cr_assert_float_eq(left, right, 1e-6);
    free(x), free(y);
}
