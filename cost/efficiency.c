/* SPDX-License-Identifier: Apache-2.0 */
/* Curves of efficiency: interpolated in log(size), constant beyond their ends. */
#include <math.h>

#include "internal.h"

double sp_efficiency_at(const struct sp_efficiency *curve, int points, double size)
{
    if (points == 0)
        return 1;
    int upper = 0;
    while (upper < points && (double)curve[upper].size < size)
        upper++;
    if (upper == 0)
        return (double)curve[0].permille / 1000;
    if (upper == points)
        return (double)curve[points - 1].permille / 1000;
    const struct sp_efficiency *low = &curve[upper - 1], *high = &curve[upper];
    double share = log(size / (double)low->size) / log((double)high->size / (double)low->size);
    return ((double)low->permille + share * (double)(high->permille - low->permille)) / 1000;
}
