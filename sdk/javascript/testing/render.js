// Bodies as JSON: an object with the text of the body.
import { joinedTexts, pieces } from '../events.js';

const texts = (blobs) => pieces(blobs).map((body) => new TextDecoder().decode(body));

export const headersToJson = (blobs) => joinedTexts(texts(blobs).map((header) => JSON.stringify({ header })));
export const eventsToJson = (blobs) => joinedTexts(texts(blobs).map((event) => JSON.stringify({ event })));

const missing = () => {
    throw Object.assign(new Error('render'), { payload: 'this stand-in makes no bodies of JSON' });
};
export const headersFromJson = missing;
export const eventsFromJson = missing;
