/**
 * The documents that the server serves are what they say they are, by the judgement of others: AsyncAPI's own parser, and
 * a validator that holds OpenAPI 3.1's schema.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Parser } from '@asyncapi/parser';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Server } from './harness.mjs';

/** What stays, each with its reason. */
const ACCEPTED = {
  // Version 3.1 only adds a protocol (ROS 2); 3.0 is what the tools of today read.
  'asyncapi-latest-version': 'information, not a fault',
};

let server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

async function fetched(path) {
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
  const { document, faults } = await diagnosed(await fetched('asyncapi.json'));
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

test('AsyncAPI\'s parser sees an example that is not as it is described', async () => {
  const description = JSON.parse(await fetched('asyncapi.json'));
  description.components.messages.joinRequest.examples[0].payload.room = 7;
  const { faults } = await diagnosed(JSON.stringify(description));
  assert.match(faults.join('\n'), /asyncapi3-message-examples.*joinRequest/);
});

test('the description of the HTTP API is OpenAPI 3.1', async () => {
  const description = JSON.parse(await fetched('api/v1/openapi.json'));
  const validator = new Validator();
  const { valid, errors } = await validator.validate(description);
  assert.deepEqual({ valid, errors }, { valid: true, errors: undefined });
  assert.equal(validator.version, '3.1');
  validator.resolveRefs(); // throws on a reference that leads nowhere
});

test('the validator sees a description that is none', async () => {
  const description = JSON.parse(await fetched('api/v1/openapi.json'));
  delete description.paths['/healthz'].get.responses['200'].description;
  const { valid } = await new Validator().validate(description);
  assert.equal(valid, false);
});
