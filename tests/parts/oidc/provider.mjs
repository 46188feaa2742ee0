// An OpenID provider for tests: `node provider.mjs SETTINGS`, where SETTINGS is a JSON file that oidc_provider.py writes.
// Any password is right. Every access token is a signed JWT.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { default: Provider } = await import(pathToFileURL(`${settings.packages}/oidc-provider/lib/index.js`));

const AUDIENCE = "urn:audience:";
const claimsOf = (subject) => ({
  preferred_username: subject,
  email: `${subject}@example.com`,
  groups: [],
  ...settings.users[subject],
});

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: { keys: settings.keys },
  cookies: { keys: ["only for tests"] },
  scopes: ["openid", "offline_access", "profile", "email", "groups", "api"],
  claims: { openid: ["sub"], profile: ["preferred_username"], email: ["email"], groups: ["groups"] },
  conformIdTokenClaims: false,
  findAccount: (ctx, subject) => ({ accountId: subject, claims: () => ({ sub: subject, ...claimsOf(subject) }) }),
  extraTokenClaims: (ctx, token) => (token.accountId ? claimsOf(token.accountId) : undefined),
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed("refresh_token"),
  ttl: {
    AccessToken: (ctx) => Number(ctx.get("x-lifetime") || settings.lifetime_s),
    ClientCredentials: (ctx) => Number(ctx.get("x-lifetime") || settings.lifetime_s),
    IdToken: (ctx) => Number(ctx.get("x-lifetime") || settings.lifetime_s),
    RefreshToken: 86400,
    DeviceCode: 600,
    AuthorizationCode: 60,
    Grant: 86400,
    Interaction: 600,
    Session: 86400,
  },
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => `${AUDIENCE}${settings.audience}`,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: "api",
        audience: resource.startsWith(AUDIENCE) ? resource.slice(AUDIENCE.length) : resource,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});

provider.listen(Number(new URL(settings.issuer).port), "127.0.0.1");
