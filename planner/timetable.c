/* SPDX-License-Identifier: Apache-2.0 */
#include "timetable.h"

#include <string.h>

#include "slimpipe/arena.h"

bool sp_timetable_init(struct sp_timetable *table, uint32_t most_held)
{
    *table = (struct sp_timetable){.most_held = most_held};
    table->leaves = sp_alloc(most_held ? most_held : 1, sizeof(*table->leaves));
    return table->leaves;
}

void sp_timetable_finish(struct sp_timetable *table)
{
    sp_free(table->entries);
    sp_free(table->leaves);
}

/* The first entry that ends after t. */
static uint32_t first_after(const struct sp_timetable *table, int64_t t)
{
    uint32_t low = 0, high = table->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->entries[middle].end > t)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int64_t sp_timetable_fit(const struct sp_timetable *table, int64_t ready, int64_t duration)
{
    int64_t start = ready;

    for (uint32_t i = first_after(table, ready); i < table->count; i++) {
        if (start + duration <= table->entries[i].start)
            break;
        start = table->entries[i].end > start ? table->entries[i].end : start;
    }
    return start;
}

int64_t sp_timetable_room(const struct sp_timetable *table)
{
    return table->most_held && table->leave_count == table->most_held ? table->leaves[table->most_held - 1]
                                                                      : 0;
}

static bool grow(struct sp_timetable *table)
{
    uint32_t capacity = table->capacity ? 2 * table->capacity : 32;
    struct sp_timetable_entry *entries = sp_realloc(table->entries, capacity, sizeof(*entries));

    if (!entries)
        return false;
    table->entries = entries;
    table->capacity = capacity;
    return true;
}

bool sp_timetable_enter(struct sp_timetable *table, int64_t start, int64_t duration, struct sp_pass pass)
{
    uint32_t place = first_after(table, start);

    if (table->count == table->capacity && !grow(table))
        return false;
    memmove(&table->entries[place + 1], &table->entries[place],
            (table->count - place) * sizeof(*table->entries));
    table->entries[place] = (struct sp_timetable_entry){start, start + duration, pass};
    table->count++;
    return true;
}

void sp_timetable_hold(struct sp_timetable *table, int64_t end)
{
    uint32_t place = table->leave_count < table->most_held ? table->leave_count++ : table->leave_count;

    /* Of more than most_held only the latest matter. */
    if (table->most_held == 0 || (place == table->most_held && end <= table->leaves[place - 1]))
        return;
    place = place == table->most_held ? place - 1 : place;
    for (; place > 0 && table->leaves[place - 1] < end; place--)
        table->leaves[place] = table->leaves[place - 1];
    table->leaves[place] = end;
}
