// What every plugin needs. The capabilities are modules of their own: a component imports only what it uses.
export { Backend, plugin } from './backend.js';
export { Events } from './events.js';
export * from './errors.js';
export * from './time.js';
export { Uuid } from './uuid.js';
export * as log from './log.js';
