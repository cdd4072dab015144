/**
 * The documents that the server serves are what they say they are, by the judgement of others: AsyncAPI's own parser, and
 * a validator that holds OpenAPI 3.1's schema.
 */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Parser } from '@asyncapi/parser';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Server } from './harness.mjs';

/** What stays, each with its reason. */
const ACCEPTED = {
  'asyncapi-latest-version': 'information, not a fault: 3.0 is what tools of every age read',
};

let asyncapi;
let openapi;

// Read at once: the parser keeps this process busy for longer than a server waits on an idle connection.
before(async () => {
  const server = await Server.start();
  asyncapi = await fetched(server, 'asyncapi.json');
  openapi = await fetched(server, 'api/v1/openapi.json');
  await server.stop();
});

async function fetched(server, path) {
  const answer = await fetch(new URL(path, server.url));
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  return answer.text();
}

async function diagnosed(text) {
  const { document, diagnostics } = await new Parser().parse(text);
  const faults = diagnostics
    .filter(({ code }) => !(code in ACCEPTED))
    .map(({ code, message, path, severity }) => `${severity} ${code} at ${path.join('/')}: ${message}`);
  return { document, faults };
}

test('AsyncAPI\'s parser has nothing to say against the description of the socket', async () => {
  const { document, faults } = await diagnosed(asyncapi);
  assert.deepEqual(faults, []);
  assert.equal(document.version(), '3.0.0');
  const channel = document.channels().all()[0];
  assert.equal(channel.address(), '/ws');
  const requests = document.operations().filterByReceive();
  assert.equal(requests.length, 10);
  for (const request of requests) {
    assert.ok(request.reply().messages().all().some((message) => message.name() === 'error'), request.id());
  }
  for (const message of channel.messages().all()) {
    assert.ok(message.examples().all().length > 0, `${message.id()} has no example`);
  }
});

test('AsyncAPI\'s parser sees a request that is none of the channel', async () => {
  const description = JSON.parse(asyncapi);
  description.operations.join.messages[0].$ref = '#/components/messages/joinRequest';
  const { faults } = await diagnosed(JSON.stringify(description));
  assert.match(faults.join('\n'), /asyncapi3-operation-messages-from-referred-channel at operations\/join/);
});

test('the description of the HTTP API is OpenAPI 3.1', async () => {
  const description = JSON.parse(openapi);
  const validator = new Validator();
  const { valid, errors } = await validator.validate(description);
  assert.deepEqual({ valid, errors }, { valid: true, errors: undefined });
  assert.equal(validator.version, '3.1');
  validator.resolveRefs(); // throws on a reference that leads nowhere
});

test('the validator sees a description that is none', async () => {
  const description = JSON.parse(openapi);
  delete description.paths['/healthz'].get.responses['200'].description;
  const { valid } = await new Validator().validate(description);
  assert.equal(valid, false);
});
