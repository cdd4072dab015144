/** Where one writes. Every conversation has a draft of its own, which survives a reload. */

const HINTS = { open: 'Enter sends, Shift+Enter makes a new line.', closed: 'Sign in again to write here.' };
const HINT_WAITING = 'Not connected. What you send now waits here and goes out with the connection.';

/** @param {{$: import('./dom.js').Find, draft(conversation): string, setDraft(conversation, text: string): void, send(conversation, text: string): void, signal: AbortSignal}} actions */
export function createComposer({ $, draft, setDraft, send, signal }) {
  const form = $('composer');
  const text = $('composer-text');
  let shown = null;

  text.addEventListener('input', () => {
    if (shown) setDraft(shown, text.value);
    fit();
  }, { signal });

  text.addEventListener('keydown', (event) => {
    // `isComposing`: in an input method, Enter ends a word, not a message.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  }, { signal });

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (!shown || text.value.trim() === '') return;
    const content = text.value;
    text.value = '';
    setDraft(shown, '');
    fit();
    send(shown, content);
    text.focus();
  }, { signal });

  /** Grows with what is written, up to the height that the style sheet allows. */
  function fit() {
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight}px`;
    $('composer-send').disabled = text.value.trim() === '';
  }

  return {
    render(conversation) {
      form.hidden = !conversation;
      if (!conversation || shown === conversation) return;
      shown = conversation;
      text.value = draft(conversation);
      const where = conversation.kind === 'room' ? `#${conversation.room}` : conversation.name;
      text.placeholder = `Write to ${where}`;
      $('composer-label').textContent = `Message to ${where}`;
      fit();
    },
    /** @param {import('./chat-client.js').State} state */
    connection(state) {
      text.disabled = state === 'closed';
      $('composer-hint').textContent = HINTS[state] ?? HINT_WAITING;
    },
    focus() {
      text.focus();
    },
  };
}
