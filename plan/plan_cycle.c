/* SPDX-License-Identifier: Apache-2.0 */
/* A deadlock in words: the chain of waits, followed from device to device until it closes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan_sweep.h"

/* What keeps a device: a pass (or a part of it in a slot) that has not run, and the device it is on. */
struct obstacle {
    uint64_t pass;
    uint32_t device;
    bool beside; /* it should run side by side with what the device is at */
};

enum { NAME_SIZE = 160, ROOM = 480 /* for links; the rest is for how many were left out */ };

static uint64_t find(const struct sweep *sweep, const struct sp_pass *pass)
{
    return sp_pass_table_find(sweep->checker->table, pass->kind, pass->stage, pass->microbatch, pass->slice);
}

static const struct sp_exchange_part *part_at(const struct sweep *sweep, uint32_t slot)
{
    return &sweep->checker->plan->exchange[sweep->gangs.slots[slot].part];
}

/* What the device is at: a pass, a joined pair, or a part that it computes for another device. */
static void write_head(const struct sweep *sweep, uint32_t device, char name[NAME_SIZE])
{
    uint32_t slot = sp_plan_sweep_slot(sweep, device);
    uint64_t at = sweep->cursor[device];
    if (slot != SWEEP_NONE) {
        const struct sp_exchange_part *part = part_at(sweep, slot);
        snprintf(name, NAME_SIZE, "the part of %s %s %s",
                 sp_plan_pass_name(sweep->checker, find(sweep, &part->pass)).text,
                 part->where == SP_ANCHOR_BEFORE ? "before" : "after",
                 sp_plan_pass_name(sweep->checker, find(sweep, &part->anchor)).text);
    } else if (sweep->checker->plan->order.passes[at].joined) {
        snprintf(name, NAME_SIZE, "(%s;%s)", sp_plan_pass_name(sweep->checker, at).text,
                 sp_plan_pass_name(sweep->checker, at + 1).text);
    } else {
        snprintf(name, NAME_SIZE, "%s", sp_plan_pass_name(sweep->checker, at).text);
    }
}

static bool is_at(const struct sweep *sweep, uint64_t pass)
{
    uint32_t device = sweep->checker->device_of[pass];
    uint64_t at = sweep->cursor[device];
    bool joined = at < sp_plan_sweep_end(sweep, device) && sweep->checker->plan->order.passes[at].joined;
    return sp_plan_sweep_slot(sweep, device) == SWEEP_NONE && (at == pass || (joined && at + 1 == pass));
}

/* The first of a gang that has not come up. */
static struct obstacle missing_of_gang(const struct sweep *sweep, uint32_t number)
{
    const struct gangs *gangs = &sweep->gangs;
    const struct gang *gang = &gangs->gangs[number];
    for (uint32_t node = gang->first_node; node != SWEEP_NONE; node = gangs->next_node[node]) {
        uint64_t pass = gangs->pass_of[node];
        if (!is_at(sweep, pass) || sp_plan_sweep_unmet(sweep, pass) != SWEEP_NO_EVENT)
            return (struct obstacle){pass, sweep->checker->device_of[pass], true};
    }
    for (uint32_t part = gang->first_part; part != SWEEP_NONE; part = gangs->next_part[part]) {
        const struct sp_exchange_part *missing = &sweep->checker->plan->exchange[part];
        uint32_t slot = sp_plan_sweep_slot(sweep, missing->device);
        if (slot == SWEEP_NONE || gangs->slots[slot].part != part)
            return (struct obstacle){find(sweep, &missing->anchor), missing->device, true};
    }
    return (struct obstacle){SP_NO_PASS, 0, false}; /* then the gang would have run */
}

/* The pass behind an event: itself, or the first S or T of a slice that has not run. */
static struct obstacle pass_of_event(const struct sweep *sweep, uint64_t event)
{
    const struct plan_checker *checker = sweep->checker;
    if (event < checker->pass_count)
        return (struct obstacle){event, checker->device_of[event], false};
    uint64_t unit = event - checker->pass_count;
    enum sp_pass_kind kind = unit < sweep->units ? SP_PASS_S : SP_PASS_T;
    unit %= sweep->units;
    for (uint32_t device = 0; device < checker->plan->order.device_count; device++) {
        uint64_t pass = sp_pass_table_find_output(checker->table, kind, device,
                                                  (uint32_t)(unit / checker->plan->slice_count),
                                                  (uint32_t)(unit % checker->plan->slice_count));
        if (pass >= sweep->cursor[device])
            return (struct obstacle){pass, device, false};
    }
    return (struct obstacle){SP_NO_PASS, 0, false};
}

static struct obstacle obstacle_of(const struct sweep *sweep, uint32_t device)
{
    uint32_t slot = sp_plan_sweep_slot(sweep, device);
    if (slot != SWEEP_NONE)
        return missing_of_gang(sweep, sweep->gangs.of_pass[find(sweep, &part_at(sweep, slot)->pass)]);
    uint64_t at = sweep->cursor[device];
    uint64_t event = sp_plan_sweep_unmet(sweep, at);
    if (event == SWEEP_NO_EVENT && sweep->checker->plan->order.passes[at].joined)
        event = sp_plan_sweep_unmet(sweep, at + 1);
    if (event != SWEEP_NO_EVENT)
        return pass_of_event(sweep, event);
    return missing_of_gang(sweep, sweep->gangs.of_pass[at]);
}

static int write_link(const struct sweep *sweep, uint32_t device, char *text, size_t size)
{
    char head[NAME_SIZE], behind[NAME_SIZE];
    struct obstacle obstacle = obstacle_of(sweep, device);
    write_head(sweep, device, head);
    write_head(sweep, obstacle.device, behind);
    bool next = is_at(sweep, obstacle.pass);
    return snprintf(text, size, "%s waits for %s%s on device %u%s%s", head,
                    sp_plan_pass_name(sweep->checker, obstacle.pass).text,
                    obstacle.beside ? " to run beside it" : "", obstacle.device, next ? "" : ", behind ",
                    next ? "" : behind);
}

/* A device on the cycle that the chain from `device` leads to. */
static uint32_t find_cycle(const struct sweep *sweep, uint32_t device)
{
    uint32_t slow = device, fast = device;
    do {
        slow = obstacle_of(sweep, slow).device;
        fast = obstacle_of(sweep, obstacle_of(sweep, fast).device).device;
    } while (slow != fast);
    return slow;
}

enum sp_status sp_plan_report_cycle(const struct sweep *sweep, uint32_t device)
{
    struct plan_checker *checker = sweep->checker;
    uint32_t first = find_cycle(sweep, device), at = first;
    char text[sizeof checker->error->message] = "";
    size_t used = 0;
    uint32_t left_out = 0;
    do {
        char link[3 * NAME_SIZE + 64];
        int size = write_link(sweep, at, link, sizeof link);
        if (left_out == 0 && used + (size_t)size + 2 < ROOM)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? "; " : "", link);
        else
            left_out++;
        at = obstacle_of(sweep, at).device;
    } while (at != first);
    if (left_out)
        snprintf(text + used, sizeof text - used, "; and %u more", left_out);
    *checker->place = sp_plan_place_at("$.order[%u]", first);
    if (sweep->cursor[first] < sp_plan_sweep_end(sweep, first)) {
        checker->place->has_token = true;
        checker->place->token = sweep->cursor[first] - checker->plan->order.begin[first];
    }
    return sp_error_set(checker->error, SP_INFEASIBLE, "the devices wait for each other: %s", text);
}
