// A storage plugin over `sql`: traces in a SQLite database that the operator grants under the label `default`.
//
// `wit/deps/storage/backend.wit` specifies each function. The host owns the encoding: a plugin stores and returns a `body` unchanged,
// and searches by the columns beside it, which `schema.sql` describes.
import { Backend, InvalidArgument, plugin, Unsupported } from '#sdk';
import { Database, field } from '#sdk/sql';
import { bounded, placeOfToken, select, tokenOf } from './query.js';
import schema from './schema.sql';

/** What the host binds for each event. */
const EVENT = [
    field('trace-id'),
    field('timestamp'),
    field('event-id'),
    field('event-type'),
    field('actor-id'),
    field('error'),
    field('body'),
];
/** The earliest time. */
const EARLIEST = -(1n << 63n);

export class Store extends Backend {
    #database;

    /** @param {import('#sdk').Config} config */
    constructor(config) {
        super(config);
        // Refuse unknown settings, so that a misspelt one is noticed.
        const [unknown] = Object.keys(config);
        if (unknown !== undefined) throw new InvalidArgument(`this plugin has no settings, but was given \`${unknown}\``);
        this.#database = Database.open('default');
        if (this.#database.dialect !== 'sqlite') throw new Unsupported('databases other than SQLite');
        // Several instances may do this at once.
        this.#database.execute(schema);
    }

    /** @param {import('#sdk').Trace[]} traces */
    storeTraces(traces) {
        // All or nothing: what is thrown rolls the transaction back.
        this.#database.transaction((transaction) => {
            for (const { traceId, flowId, executionId, startTime, endTime, status, error, tags, body } of traces) {
                transaction.execute('DELETE FROM tag WHERE trace_id = ?', traceId);
                transaction.executeMany('INSERT INTO tag VALUES (?, ?, ?)', tags.map(([name, value]) => [traceId, name, value]));
                // A header that is stored again replaces the earlier one; the events stay.
                const header = [traceId, flowId, executionId, startTime, endTime, status, error, body];
                transaction.execute('INSERT OR REPLACE INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?)', ...header);
            }
        });
    }

    /** @param {import('#sdk').Events} events */
    storeEvents(events) {
        // No event enters the plugin: the host binds these fields of each to the statement. Storing one again changes nothing.
        this.#database.insertBatch('INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING', EVENT, events);
    }

    /** @param {import('#sdk').Uuid[]} ids */
    getTraces(ids) {
        // One answer for each id, in the order of the ids.
        return ids.map((id) => {
            const [row] = this.#database.all('SELECT body FROM trace WHERE trace_id = ?', id);
            return row?.[0];
        });
    }

    /**
     * @param {import('#sdk').TraceQuery} query
     * @param {import('#sdk').PageRequest} page
     */
    queryTraces(query, page) {
        const [statement, parameters] = select(query, page);
        const rows = this.#database.all(statement, ...parameters);
        // One row more than requested shows that there is another page.
        const shown = rows.slice(0, page.limit);
        const bodies = shown.map(([, , body]) => body);
        if (rows.length === shown.length) return { bodies };
        const [start, id] = shown[shown.length - 1];
        return { bodies, next: tokenOf(start, id) };
    }

    /**
     * @param {import('#sdk').Uuid} traceId
     * @param {import('#sdk').PageRequest} page
     */
    getEvents(traceId, page) {
        const [time, id] = page.token === undefined ? [EARLIEST, new Uint8Array()] : placeOfToken(page.token);
        const statement = `SELECT body FROM event WHERE trace_id = ? AND (timestamp, event_id) > (?, ?)
                           ORDER BY timestamp, event_id LIMIT ? OFFSET ?`;
        // The host makes the batch of the column, so no event enters the plugin.
        const events = this.#database.queryEvents(statement, [traceId, time, id, page.limit, bounded(page.offset)]);
        if (events.length < page.limit) return { events };
        const [times, ids] = events.columns('timestamp', 'event-id');
        return { events, next: tokenOf(times[events.length - 1], ids[events.length - 1].toBytes()) };
    }

    /** @param {import('#sdk').Uuid[]} ids */
    deleteTraces(ids) {
        return this.#database.transaction((transaction) => {
            let deleted = 0;
            for (const id of ids) {
                const headers = transaction.execute('DELETE FROM trace WHERE trace_id = ?', id);
                const events = transaction.execute('DELETE FROM event WHERE trace_id = ?', id);
                transaction.execute('DELETE FROM tag WHERE trace_id = ?', id);
                deleted += headers + events > 0n ? 1 : 0;
            }
            return deleted;
        });
    }

    getStats() {
        const statement = 'SELECT count(*), (SELECT count(*) FROM event), min(start_time), max(start_time) FROM trace';
        const [[traces, events, oldest, newest]] = this.#database.all(statement);
        return { traces, events, oldest: oldest ?? undefined, newest: newest ?? undefined };
    }

    healthCheck() {
        // Takes the lock that a write needs, and releases it.
        this.#database.transaction((transaction) => transaction.all('SELECT 1 FROM trace LIMIT 1'));
    }
}

export const { backend } = plugin(Store);
