// Lets a plugin run in Node.js, for tests without a host: `node --import ./sdk/testing/register.js --test`.
import { register } from 'node:module';

process.setSourceMapsEnabled(true);
register('./hooks.js', import.meta.url);
