// The host's log.
import { log } from 'reflow:capabilities/log';

const writer = (level) => (message) => log(level, String(message));

export const trace = writer('trace');
export const debug = writer('debug');
export const info = writer('info');
export const warn = writer('warn');
export const error = writer('error');
