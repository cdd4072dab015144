/** React, a document without a browser, and the hook: `static/` has no packages of its own, so it gets ours. */

import { register } from 'node:module';
import { Window } from 'happy-dom';

const hook = `export const resolve = (name, context, next) =>
  next(name, name === 'react' ? { ...context, parentURL: ${JSON.stringify(import.meta.url)} } : context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);

const window = new Window({ url: 'http://chat.test/' });
globalThis.window = window;
globalThis.document = window.document;
globalThis.navigator ??= window.navigator;
globalThis.IS_REACT_ACT_ENVIRONMENT = true;

export const React = (await import('react')).default;
export const { createRoot, hydrateRoot } = await import('react-dom/client');
export const { renderToString } = await import('react-dom/server');
export const { act, createElement: h, StrictMode } = React;
export const { useChat, createChatStore, KEEP_MESSAGES } = await import('../../static/chat-react.js');

/** A place in the document. */
export function place() {
  const element = document.createElement('div');
  document.body.append(element);
  return element;
}
