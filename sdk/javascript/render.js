// Bodies as JSON, and JSON as bodies.
import { eventsFromJson, eventsToJson, headersFromJson, headersToJson } from 'reflow:capabilities/render';
import { InvalidArgument } from './errors.js';
import { joined, joinedTexts, pieces, split } from './events.js';

/** The failures of these functions are texts. */
const checked = (run) => {
    try {
        return run();
    } catch (thrown) {
        throw typeof thrown?.payload === 'string' ? new InvalidArgument(thrown.payload, { cause: thrown }) : thrown;
    }
};

export const traceBodiesToJson = (bodies) => checked(() => split(headersToJson(joined(bodies))));
export const traceBodiesFromJson = (json) => checked(() => pieces(headersFromJson(joinedTexts(json))));
export const eventBodiesToJson = (bodies) => checked(() => split(eventsToJson(joined(bodies))));
export const eventBodiesFromJson = (json) => checked(() => pieces(eventsFromJson(joinedTexts(json))));
