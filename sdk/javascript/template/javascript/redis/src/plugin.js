// A storage plugin over `redis`: traces in a Redis server that the operator grants under the label `default`.
//
// `wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: a plugin stores and returns a `body` unchanged,
// and searches by the fields beside it. `keys.js` describes the keys.
import { Backend, InvalidArgument, plugin, StorageError, Unsupported, Uuid } from '#sdk';
import { key } from '#sdk/keys';
import { field, joined, present, Redis, sortable } from '#sdk/redis';
import { encodeHeader } from './header.js';
import { about, bodies, eventsOf, header, index, placeOf, UNSORTED } from './keys.js';
import { checkedToken, headers, matches, walk } from './query.js';

/** A page ends when its bodies exceed this, so that an answer stays within the limits of the host. */
const PAGE_BYTES = 8 * 1024 * 1024;
/** Traces that are counted in one round trip. */
const COUNTED = 500;

export class Store extends Backend {
    #redis;

    /** @param {import('#sdk').Config} config */
    constructor(config) {
        super(config);
        // Refuse unknown settings, so that a misspelt one is noticed.
        const [unknown] = Object.keys(config);
        if (unknown !== undefined) throw new InvalidArgument(`this plugin has no settings, but was given \`${unknown}\``);
        this.#redis = Redis.open('default');
    }

    /** @param {import('#sdk').Trace[]} traces */
    storeTraces(traces) {
        // Of several headers for one trace, the last one is stored.
        const last = [...new Map(traces.map((trace) => [String(trace.traceId), trace])).values()];
        const before = headers(this.#redis, last.map((trace) => trace.traceId));
        const commands = last.flatMap((trace, number) => {
            const { traceId, startTime } = trace;
            const replaced = before[number]?.startTime;
            return [
                ...(replaced === undefined || replaced === startTime ? [] : unlist(replaced, traceId)),
                ...[true, false].map((ascending) => ['ZADD', index(ascending), UNSORTED, placeOf(startTime, traceId, ascending)]),
                ['ZADD', 'traces', UNSORTED, traceId],
                ['SET', header(traceId), encodeHeader(trace)],
            ];
        });
        // All or nothing. When two instances replace one header at a time, an old place may be left over; `walk` ignores it.
        checked(this.#redis.atomically([], commands));
    }

    /** @param {import('#sdk').Events} events */
    storeEvents(events) {
        const id = field('trace-id');
        const place = joined(sortable('timestamp'), sortable('event-id'));
        const commands = [
            ['ZADD', 'traces', UNSORTED, sortable('trace-id')],
            ['SADD', joined('about:', id), joined('a', field('actor-id')), joined('k', field('event-type')), joined('x', present('error'))],
            ['HSETNX', joined('bodies:', id), place, field('body')],
            // It makes the event exist, so it is last: after an interruption, all of the event is stored again.
            ['ZADD', joined('events:', id), UNSORTED, place],
        ];
        // No event enters the plugin: the host makes these commands of each. One that is stored already is skipped.
        this.#redis.pipelineBatch(commands, events, { unless: ['ZSCORE', joined('events:', id), place] });
    }

    /** @param {import('#sdk').Uuid[]} ids */
    getTraces(ids) {
        return headers(this.#redis, ids).map((header) => header?.body);
    }

    /**
     * @param {import('#sdk').TraceQuery} query
     * @param {import('#sdk').PageRequest} page
     */
    queryTraces(query, page) {
        const [unknown] = query.more;
        if (unknown !== undefined) throw new Unsupported(`the predicate \`${unknown[0]}\``);
        const found = [];
        let [bytes, offset] = [0, page.offset];
        let last;
        for (const { place, id, header } of walk(this.#redis, query, page.token && checkedToken(page.token))) {
            if (!matches(this.#redis, query, id, header)) continue;
            if (offset > 0n) {
                offset -= 1n;
                continue;
            }
            // One more than fits shows that there is another page.
            if (found.length === page.limit || (bytes > 0 && bytes + header.body.length > PAGE_BYTES)) return { bodies: found, next: last };
            found.push(header.body);
            bytes += header.body.length;
            last = place;
        }
        return { bodies: found };
    }

    /**
     * @param {import('#sdk').Uuid} traceId
     * @param {import('#sdk').PageRequest} page
     */
    getEvents(traceId, page) {
        const from = page.token === undefined ? '-' : key('(', checkedToken(page.token));
        // Redis takes no larger one.
        const offset = String(page.offset < 1n << 63n ? page.offset : (1n << 63n) - 1n);
        // One more than requested shows that there is another page.
        const range = ['ZRANGE', eventsOf(traceId), from, '+', 'BYLEX', 'LIMIT', offset, page.limit + 1];
        const places = this.#redis.command(...range);
        const shown = places.slice(0, page.limit);
        if (shown.length === 0) return {};
        const events = this.#redis.queryEvents([['HMGET', bodies(traceId), ...shown]]);
        return { events, next: places.length > shown.length ? shown[shown.length - 1] : undefined };
    }

    /** @param {import('#sdk').Uuid[]} ids */
    deleteTraces(ids) {
        let deleted = 0;
        headers(this.#redis, ids).forEach((stored, number) => {
            const id = ids[number];
            const replies = this.#redis.atomically([], [
                ['DEL', header(id), eventsOf(id)],
                ['DEL', bodies(id), about(id)],
                ['ZREM', 'traces', id],
                ...(stored === undefined ? [] : unlist(stored.startTime, id)),
            ]);
            const [existed] = checked(replies);
            deleted += existed > 0n ? 1 : 0;
        });
        return deleted;
    }

    getStats() {
        let [traces, events] = [0n, 0n];
        /** @type {string | Uint8Array} */
        let from = '-';
        for (;;) {
            const ids = this.#redis.command('ZRANGE', 'traces', from, '+', 'BYLEX', 'LIMIT', 0, COUNTED);
            if (ids.length === 0) break;
            const uuids = ids.map((id) => Uuid.fromBytes(id));
            const counts = [['EXISTS', ...uuids.map(header)], ...uuids.map((id) => ['ZCARD', eventsOf(id)])];
            const [some, ...others] = checked(this.#redis.pipeline(counts));
            traces += some;
            events = others.reduce((sum, count) => sum + count, events);
            from = key('(', ids[ids.length - 1]);
        }
        const [oldest, newest] = [true, false].map((ascending) => {
            const { value: first } = walk(this.#redis, { ascending }).next();
            return first?.header.startTime;
        });
        return { traces, events, oldest, newest };
    }

    healthCheck() {
        // Redis checks what a write needs, and then does not create the key.
        this.#redis.command('SETRANGE', 'health', 0, '');
    }
}

/** Commands that remove a trace with this start from the order. */
function unlist(start, id) {
    return [true, false].map((ascending) => ['ZREM', index(ascending), placeOf(start, id, ascending)]);
}

/** The replies. Throws what the server refused. */
function checked(replies = []) {
    const refused = replies.find((reply) => reply instanceof StorageError);
    if (refused !== undefined) throw refused;
    return replies;
}

export const { backend } = plugin(Store);
