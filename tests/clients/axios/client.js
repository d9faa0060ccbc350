'use strict';

// axios in the four ways that people send nested parameters with it.
// Styles: qs = a string by qs, params = URLSearchParams by hand, multipart = postForm, json.

const axios = require('axios');
const qs = require('qs');

const { API_URL, APP_ID, API_KEY, API_PASSWORD, EMAIL, FIRST_NAME } = process.env;
const style = process.argv[2];

function phpEncode(params, prefix, out) {
  for (const [key, value] of Object.entries(params)) {
    const name = prefix ? `${prefix}[${key}]` : key;
    if (value !== null && typeof value === 'object') phpEncode(value, name, out);
    else out.append(name, String(value));
  }
  return out;
}

const ways = {
  qs: (data) => axios.post(API_URL, qs.stringify(data)),
  params: (data) => axios.post(API_URL, phpEncode(data, '', new URLSearchParams())),
  multipart: (data) => axios.postForm(API_URL, data, { formSerializer: { indexes: true } }),
  json: (data) => axios.post(API_URL, data),
};

async function call(data) {
  const credentials = { app_id: APP_ID, api_key: API_KEY, api_password: API_PASSWORD };
  const response = await ways[style]({ ...credentials, ...data });
  return response.data;
}

const messages = (answer) => answer.actions.map((element) => Object.values(element)[0].message);

async function main() {
  const account = await call({ actions: [{ cmd: 'retrieve_account_tags' }] });
  const created = await call({
    lead: { email: EMAIL, first_name: FIRST_NAME },
    actions: [
      { cmd: 'create_lead' },
      { cmd: 'assign_tag', tag_name: 'Trial user' },
      { cmd: 'subscribe_lead_to_list', list_name: 'Newsletter' },
    ],
  });
  const id = created.actions[0].create_lead.lead_details.id;
  const tagged = await call({
    lead: { id },
    actions: ['Customer', 'Trial user'].map((tag) => ({ cmd: 'assign_tag', tag_name: tag })),
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
}

main().catch((error) => {
  console.error(error.message, error.response?.data);
  process.exit(1);
});
