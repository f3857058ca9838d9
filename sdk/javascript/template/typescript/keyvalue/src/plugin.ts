// A storage plugin over `keyvalue`: traces in a bucket that the operator grants under the label `default`.
//
// `wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: a plugin stores and returns a `body` unchanged,
// and searches by the fields beside it. `keys.ts` describes the layout of the bucket.
import {
    Backend, Exhausted, InvalidArgument, plugin, Unsupported,
    type Config, type Events, type PageRequest, type Trace, type TraceQuery, type Uuid,
} from '#sdk';
import { Bucket, field, key, present, sortable, type Change } from '#sdk/keyvalue';
import { decodeHeader, encodeHeader, type Header } from './header.js';
import { byStart, keysOf, ofTrace } from './keys.js';
import { matches } from './query.js';
import { readToken, walk, writeToken } from './walk.js';

/** A page ends when its bodies exceed this, so that an answer stays within the limits of the host. */
const PAGE_BYTES = 8 * 1024 * 1024;
/** Headers that are read at once. */
const CHUNK = 64;

export class Store extends Backend {
    readonly #bucket: Bucket;

    constructor(config: Config) {
        super(config);
        // Refuse unknown settings, so that a misspelt one is noticed.
        const [unknown] = Object.keys(config);
        if (unknown !== undefined) throw new InvalidArgument(`this plugin has no settings, but was given \`${unknown}\``);
        this.#bucket = Bucket.open('default');
    }

    storeTraces(traces: Trace[]) {
        // Of several headers for one trace, the last one is stored.
        const last = new Map(traces.map((trace) => [String(trace.traceId), trace]));
        const headers = this.#headers([...last.values()].map((trace) => trace.traceId));
        const changes = [...last.values()].flatMap((trace, index): Change[] => {
            const before = headers[index];
            const moved = before !== undefined && before.startTime !== trace.startTime;
            return [
                ...(moved ? [{ delete: byStart(before.startTime, trace.traceId) }] : []),
                { set: byStart(trace.startTime, trace.traceId) },
                { set: ofTrace('h', trace.traceId), value: encodeHeader(trace) },
            ];
        });
        // All or nothing. When two instances replace one header at a time, an entry by start may be left over; `walk` ignores it.
        this.#bucket.apply(changes);
    }

    storeEvents(events: Events) {
        const id = sortable('trace-id');
        const body = { key: ['e', id, sortable('timestamp'), sortable('event-id')], value: [field('body')] };
        const indexes = [{ key: ['k', id, field('event-type')] }, { key: ['x', id, present('error')] }];
        // No event enters the plugin: the host makes these entries of each. One that is stored already is skipped.
        try {
            this.#bucket.insertBatch([body, ...indexes, { key: ['a', id, field('actor-id')] }], events);
        } catch (error) {
            if (!(error instanceof Exhausted)) throw error;
            // An actor id that is too long for a key: for this trace, queries look at the actors of its events.
            this.#bucket.insertBatch([body, ...indexes, { key: ['l', id] }], events);
        }
    }

    getTraces(ids: Uuid[]) {
        return this.#headers(ids).map((header) => header?.body);
    }

    queryTraces(query: TraceQuery, page: PageRequest) {
        const [unknown] = query.more;
        if (unknown !== undefined) throw new Unsupported(`the predicate \`${unknown[0]}\``);
        const bodies: Uint8Array[] = [];
        let [bytes, offset] = [0, page.offset];
        let last: Uint8Array | undefined;
        for (const places of walk(this.#bucket, query, page.token === undefined ? undefined : readToken(page.token), CHUNK)) {
            const headers = this.#headers(places.map((place) => place.id));
            for (const [index, place] of places.entries()) {
                const header = headers[index];
                // An entry without its header is left over from a header that was replaced or deleted meanwhile.
                if (header === undefined || header.startTime !== place.start) continue;
                if (!matches(this.#bucket, query, place.id, header)) continue;
                if (offset > 0n) {
                    offset -= 1n;
                    continue;
                }
                // One more than fits shows that there is another page.
                if (bodies.length === page.limit || (bytes > 0 && bytes + header.body.length > PAGE_BYTES)) {
                    return { bodies, next: last };
                }
                bodies.push(header.body);
                bytes += header.body.length;
                last = writeToken(place);
            }
        }
        return { bodies };
    }

    getEvents(traceId: Uuid, page: PageRequest) {
        const prefix = ofTrace('e', traceId);
        let [cursor, offset] = [page.token, page.offset];
        while (offset > 0n) {
            const { events, next } = this.#bucket.scanEvents(prefix, { cursor, limit: Number(offset < 10_000n ? offset : 10_000n) });
            if (next === undefined) return {};
            offset -= BigInt(events.length);
            cursor = next;
        }
        return this.#bucket.scanEvents(prefix, { cursor, limit: page.limit });
    }

    deleteTraces(ids: Uuid[]) {
        let deleted = 0;
        for (const id of ids) {
            const header = this.#bucket.get(ofTrace('h', id));
            let existed = header !== undefined;
            for (const prefix of keysOf(id)) {
                let cursor: Uint8Array | undefined;
                do {
                    const { keys, next } = this.#bucket.listKeys(prefix, { cursor });
                    existed ||= keys.length > 0;
                    this.#bucket.apply(keys.map((key) => ({ delete: key })));
                    cursor = next;
                } while (cursor !== undefined);
            }
            // The header is last: if the deletion is interrupted, the next one finds the trace.
            if (header !== undefined) {
                const start = decodeHeader(header).startTime;
                this.#bucket.apply([{ delete: byStart(start, id) }, { delete: ofTrace('h', id) }]);
            }
            deleted += existed ? 1 : 0;
        }
        return deleted;
    }

    getStats() {
        return {
            traces: this.#bucket.count('h'),
            events: this.#bucket.count('e'),
            oldest: this.#end(true),
            newest: this.#end(false),
        };
    }

    healthCheck() {
        this.#bucket.get(key('h'));
    }

    #headers(ids: Uuid[]): (Header | undefined)[] {
        const values = this.#bucket.getMany(ids.map((id) => ofTrace('h', id)));
        return values.map((value) => (value === undefined ? undefined : decodeHeader(value)));
    }

    /** The earliest or the latest start of a trace. */
    #end(ascending: boolean): bigint | undefined {
        for (const places of walk(this.#bucket, { ascending }, undefined, CHUNK)) {
            const headers = this.#headers(places.map((place) => place.id));
            const found = places.find((place, index) => headers[index]?.startTime === place.start);
            if (found !== undefined) return found.start;
        }
        return undefined;
    }
}

export const { backend } = plugin(Store);
