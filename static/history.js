/**
 * Brings the messages of a conversation, a page at a time: the newest when it is opened, earlier ones when somebody reads
 * back. What is live is not its business.
 */

const PAGE = 50;

/** @typedef {import('./conversation.js').Conversation} Conversation */

export class History {
  #chat;
  #changed;
  #merge;
  #told;

  /**
   * @param {{chat: any, changed(): void, merge(conversation: Conversation, messages: import('./chat-client.js').Message[]): void,
   *   told(conversation: Conversation, message: import('./chat-client.js').Message): void}} options `told`: there is this message, but it is not shown
   */
  constructor({ chat, changed, merge, told }) {
    this.#chat = chat;
    this.#changed = changed;
    this.#merge = merge;
    this.#told = told;
  }

  /** @returns {Promise<{messages: import('./chat-client.js').Message[], hasMore: boolean}>} */
  page(conversation, page = {}) {
    const asked = { limit: PAGE, ...page };
    return conversation.kind === 'room' ? this.#chat.roomHistory(conversation.room, asked) : this.#chat.dmHistory(conversation.peer, asked);
  }

  async load(conversation) {
    if (conversation.status === 'ready' || conversation.status === 'loading') return;
    conversation.status = 'loading';
    this.#changed();
    try {
      const { messages, hasMore } = await this.page(conversation);
      if (conversation.status !== 'loading') return; // a reset was faster
      conversation.hasMore = hasMore;
      conversation.status = 'ready';
      if (hasMore && messages.length > 0) conversation.timeline.keepFrom(messages[0].id); // our own came in before the page
      this.#merge(conversation, messages);
    } catch (error) {
      if (conversation.status !== 'loading') return;
      if (error.code === 'disconnected') this.unload(conversation);
      else Object.assign(conversation, { status: 'failed', reason: error.message });
    }
    this.#changed();
  }

  async loadEarlier(conversation) {
    const first = conversation.timeline.messages[0];
    if (!first || conversation.loadingEarlier) return;
    Object.assign(conversation, { loadingEarlier: true, earlierFailed: false });
    this.#changed();
    try {
      const { messages, hasMore } = await this.page(conversation, { before: first.id });
      if (conversation.timeline.messages[0] === first) {
        Object.assign(conversation, { hasMore, notice: '' });
        this.#merge(conversation, messages);
      }
    } catch {
      conversation.earlierFailed = true; // the button is still there, and nothing asks by itself
    }
    conversation.loadingEarlier = false;
    this.#changed();
  }

  /** The last message, and so how many there are, of what has not been opened yet. */
  async peek(conversation) {
    try {
      const { messages } = await this.page(conversation, { limit: 1 });
      for (const message of messages) this.#told(conversation, message);
    } catch {
      // The next connection asks again.
    }
  }

  unload(conversation) {
    conversation.timeline.clear();
    conversation.status = 'new';
  }
}
