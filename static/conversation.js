/** What the page knows of one room or one direct conversation. Data, and nothing that happens. */

import { Timeline } from './timeline.js';

/**
 * @typedef {{key: string, kind: 'room' | 'dm', room: string, peer: number, name: string, timeline: Timeline,
 *   status: 'new' | 'loading' | 'ready' | 'failed', reason: string, hasMore: boolean, loadingEarlier: boolean, earlierFailed: boolean,
 *   last: import('./chat-client.js').Message | null, lastSeq: number, newSince: number, readingBack: boolean, notice: string}} Conversation
 *   `last`: the newest message that is known of, shown or not; `newSince`: the `seq` up to which all was read when it was opened;
 *   `readingBack`: what is on the screen is old, so it must not be let go; `notice`: what there is to say about what comes before the first message
 */

/** @returns {Conversation} */
export function newConversation({ key, kind, room = '', peer = 0, name }, me) {
  return {
    key, kind, room, peer, name, timeline: new Timeline(me),
    status: 'new', reason: '', hasMore: false, loadingEarlier: false, earlierFailed: false,
    last: null, lastSeq: 0, newSince: -1, readingBack: false, notice: '',
  };
}
