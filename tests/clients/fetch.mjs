// Node's own fetch, as serverless functions use it.
// Styles: form = URLSearchParams, multipart = FormData, json = credentials in the query string.

const { API_URL, APP_ID, API_KEY, API_PASSWORD, EMAIL, FIRST_NAME } = process.env;
const style = process.argv[2];
const credentials = { app_id: APP_ID, api_key: API_KEY, api_password: API_PASSWORD };

function fill(target, value, name = '') {
  for (const [key, inner] of Object.entries(value)) {
    const full = name ? `${name}[${key}]` : key;
    if (typeof inner === 'object') fill(target, inner, full);
    else target.append(full, inner);
  }
  return target;
}

async function call(parts) {
  const request = { method: 'POST' };
  let url = API_URL;
  if (style === 'json') {
    url += `?${new URLSearchParams(credentials)}`;
    request.body = JSON.stringify(parts);
    request.headers = { 'Content-Type': 'application/json' };
  } else {
    request.body = fill(style === 'form' ? new URLSearchParams() : new FormData(), { ...parts, ...credentials });
  }
  const response = await fetch(url, request);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

const messages = ({ actions }) => actions.map((element) => Object.values(element)[0].message);

const account = await call({ actions: [{ cmd: 'retrieve_account_tags' }] });
const created = await call({
  actions: [
    { cmd: 'create_lead' },
    { cmd: 'assign_tag', tag_name: 'Trial user' },
    { cmd: 'subscribe_lead_to_list', list_name: 'Newsletter' },
  ],
  lead: { email: EMAIL, first_name: FIRST_NAME },
});
const { id } = created.actions[0].create_lead.lead_details;
const tagged = await call({
  actions: [
    { cmd: 'assign_tag', tag_name: 'Customer' },
    { cmd: 'assign_tag', tag_name: 'Trial user' },
  ],
  lead: { id },
});
const found = await call({ get_lead: { email: EMAIL } });
const unknown = await call({ get_lead: { email: 'nobody@shop.example' } });

console.log(
  JSON.stringify({
    account_tags: account.account_tags,
    id,
    created: messages(created),
    tagged: messages(tagged),
    first_name: found.lead_details.first_name,
    tags: found.lead_details.tags.map((tag) => tag.tag_name),
    unknown: unknown.status === 'Error' && unknown.message === 'No lead found',
  }),
);
