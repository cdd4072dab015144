/** The client library and its hook come out of the server's own folder, and use this folder's React. */

import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const library = fileURLToPath(new URL('../../static/', import.meta.url));

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { 'chat-server-client/react': `${library}chat-react.js` }, dedupe: ['react', 'react-dom'] },
  server: { fs: { allow: ['.', library] } },
});
