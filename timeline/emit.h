/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffered output for the writers that make megabytes: several times faster than fprintf, and numbers without
 * locale. Errors stay in the stream.
 */
#ifndef SP_TIMELINE_EMIT_H
#define SP_TIMELINE_EMIT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct sp_emitter {
    FILE *stream;
    size_t used;
    char buffer[1 << 15];
};

void sp_emit_init(struct sp_emitter *emitter, FILE *stream);
void sp_emit_flush(struct sp_emitter *emitter);

void sp_emit_text(struct sp_emitter *emitter, const char *text);
void sp_emit_whole(struct sp_emitter *emitter, int64_t number);
/* Nanoseconds as microseconds, exactly: 1500 is "1.5". */
void sp_emit_micros(struct sp_emitter *emitter, int64_t ns);
/* A coordinate: two decimals at most, no trailing zeros. */
void sp_emit_coordinate(struct sp_emitter *emitter, double number);
/* Text inside a JSON string's quotes, and inside XML text or an attribute. */
void sp_emit_json(struct sp_emitter *emitter, const char *text);
void sp_emit_xml(struct sp_emitter *emitter, const char *text);

#endif
