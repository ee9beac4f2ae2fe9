// A real OpenID provider on a free port of loopback: oidc-provider, with the pages it brings for signing in. It takes whatever
// login is typed; the accounts below have claims. First line of its output: the issuer. Ends with its standard input.
//
// provider.mjs REDIRECT_URI

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect] = process.argv.slice(2);

const accounts = {
  alice: { preferred_username: 'alice', role: 'member' },
  bob: { preferred_username: 'bob', role: 'member' },
  root: { preferred_username: 'root', role: 'admin' },
  carol: { preferred_username: 'carol', role: 'member' },
  dave: { preferred_username: 'dave', role: 'emperor' },
  // Nobody of the organization.
  mallory: { preferred_username: 'mallory', role: 'admin' },
  // No name at all.
  nameless: {},
  // A name that is none.
  hostile: { preferred_username: '<script>document.title="pwned"</script>', role: 'admin' },
};

const server = createServer().listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'keyfob',
      client_secret: 'the secret of the client keyfob',
      redirect_uris: [redirect],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    }],
    claims: { openid: ['sub', 'preferred_username', 'role'], profile: ['preferred_username', 'role'] },
    conformIdTokenClaims: false, // claims stand in the ID token too
    pkce: { required: () => true },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: `subject-of-${id}`, ...accounts[id] }) }),
  });
  server.on('request', provider.callback());
  console.log(issuer);
});

process.stdin.resume().on('end', () => process.exit());
