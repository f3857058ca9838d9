// Traces in the order of their starts, and whether they match a query.
import { InvalidArgument, Uuid } from '#sdk';
import { key, readTime } from '#sdk/keys';
import { decodeHeader, matchesHeader } from './header.js';
import { about, header, index, placeOf } from './keys.js';

/** Headers that are read at once. */
const CHUNK = 64;
/** The last id. */
const LAST = new Uint8Array(16).fill(0xff);

/** The traces that follow the place `after`. */
export function* walk(redis, range, after) {
    const { ascending, startFrom, startTo } = range;
    const [first, end] = ascending ? [startFrom, startTo] : [startTo, startFrom];
    const max = end === undefined ? '+' : key('[', placeOf(end, LAST, ascending));
    let min = first === undefined ? '-' : key('[', placeOf(first, '', ascending));
    if (after !== undefined) min = key('(', after);
    for (;;) {
        const places = redis.command('ZRANGE', index(ascending), min, max, 'BYLEX', 'LIMIT', 0, CHUNK);
        if (places.length === 0) return;
        const ids = places.map((place) => Uuid.fromBytes(place, 8));
        for (const [number, header] of headers(redis, ids).entries()) {
            const [place, id] = [places[number], ids[number]];
            const start = ascending ? readTime(place) : ~readTime(place);
            // A place without its header is left over from a header that was replaced or deleted meanwhile.
            if (header?.startTime === start) yield { place, id, header };
        }
        min = key('(', places[places.length - 1]);
    }
}

/** The headers of these traces; `undefined` where there is none. */
export function headers(redis, ids) {
    if (ids.length === 0) return [];
    const stored = redis.command('MGET', ...ids.map(header));
    return stored.map((bytes) => bytes && decodeHeader(bytes));
}

export function matches(redis, query, id, header) {
    // What the header tells comes first, since it costs nothing more.
    return matchesHeader(query, header) && matchesEvents(redis, query, id, header);
}

function matchesEvents(redis, { actor, eventTypes, hasError }, id, header) {
    if (actor === undefined && eventTypes === undefined && hasError === undefined) return true;
    const decoder = new TextDecoder();
    const known = new Set((redis.command('SMEMBERS', about(id))).map((bytes) => decoder.decode(bytes)));
    const failed = header.status === 'failed' || known.has('kActorFailed') || known.has('x1');
    return (
        (eventTypes === undefined || eventTypes.some((name) => known.has(`k${name}`))) &&
        (hasError === undefined || hasError === failed) &&
        (actor === undefined || [...known].some((text) => text.startsWith('a') && text.slice(1).includes(actor)))
    );
}

/** A token is the place of the last item. It comes from a client, so it may be invalid. */
export function checkedToken(token) {
    if (token.length !== 24) throw new InvalidArgument('the page token is not one of this plugin');
    return token;
}
