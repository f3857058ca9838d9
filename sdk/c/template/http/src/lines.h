#ifndef LINES_H
#define LINES_H

#include "reflow.h"

/// How many bytes a request has at most, unless one line alone has more: a larger batch is posted in several.
enum { PIECE = 256 * 1024 };

/// What gets the lines of a request.
typedef bool line_sink(reflow_bytes lines, void *argument, reflow_error *error);

/// Writes a line for each JSON object, of headers or, with the ids of their traces, of events. Passes them on in pieces.
bool in_pieces(const reflow_texts *json, const reflow_uuid *traces, line_sink *sink, void *argument, reflow_error *error);

/// Whether a receiver that answers like this may accept the same later.
bool may_be_accepted_later(int status);

/// Takes the quotes off a text in JSON. False for other values, and for a text with an escape, which no URL has.
bool unquote(reflow_string *json);

#endif
