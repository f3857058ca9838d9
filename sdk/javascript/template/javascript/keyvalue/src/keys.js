// The layout of the bucket. Numbers are big-endian, a time is 8 bytes that sort like it, an id 16 bytes.
//
//   "h" id                        the header: the fields to search by, and the body
//   "t" start id                  traces by start
//   "e" id timestamp event-id     the body of an event
//   "a" id actor-id               which actors a trace has
//   "k" id event-type             which kinds of events it has
//   "x" id present                "1": it has an event with an error
//   "l" id                        it has an event whose actor id may be too long for a key: look at its events
import { key } from '#sdk/keyvalue';

/** The key, or the beginning of the keys, of this kind of a trace. */
export function ofTrace(kind, id) {
    return key(kind, id);
}

/** The entry of a trace by its start. */
export function byStart(start, id) {
    return key('t', start, id);
}

/** The beginnings of all keys that the events of a trace have. */
export function keysOf(id) {
    return ['a', 'k', 'x', 'l', 'e'].map((kind) => ofTrace(kind, id));
}
