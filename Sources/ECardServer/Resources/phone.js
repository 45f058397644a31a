// A telephone: dials, shows what it gets, sends what is typed, lists messages and webhooks. Codes are kept nowhere: the
// field that they are typed in is emptied before they leave.
import { associatedData, parsePrompt, seal } from '/phone/sealing.js';

const at = (id) => document.getElementById(id);
const [number, profile, screen, typed, problem] = ['number', 'profile', 'screen', 'typed', 'problem'].map(at);

/** The dialogue that is open: its identifier, the number that dialled, the requests that were answered, the screen. */
let call = null;
/** What the server knows this page by; good for as long as the server runs. */
let secret = null;
let isSending = false;

/** What is dialled, and nothing besides. */
const serviceCode = /^\*[0-9*]+#$/;

/** A failure whose words are for the person. */
class Failure extends Error {}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Failure('The server does not answer.');
  }
  if (response.status === 401) {
    secret = null;
    throw new Failure('The server was started anew: try again.');
  }
  const answer = await response.json();
  if (!response.ok) throw new Failure(answer.error.message);
  return answer;
}

async function ask(path, options = {}) {
  secret ??= (await request('/phone/secret')).secret;
  return request(path, { ...options, headers: { ...options.headers, authorization: `Bearer ${secret}` } });
}

/** The number in the form that codes are sealed for (E.164 with +), or null. */
function ownNumber() {
  const digits = number.value.replace(/[ -]/g, '').replace(/^(\+|00)/, '');
  return /^[1-9]\d{7,14}$/.test(digits) ? `+${digits}` : null;
}

// The telephone

async function dial(code) {
  const phone = ownNumber();
  if (!phone) throw new Failure('The number needs its country code, such as +233201234567.');
  call = { session: crypto.randomUUID(), phone, sequence: 0, screen: '' };
  await exchange('initiation', code);
}

/** Takes a dialogue that the network begins. */
async function take(session) {
  call = { session, phone: ownNumber(), sequence: 0, screen: '' };
  await exchange('initiation', '');
}

async function answer(text) {
  const prompt = parsePrompt(call.screen);
  if (profile.value === 'plain' || !prompt || !/^\d{3,8}$/.test(text)) return exchange('response', text);
  const [newest] = await ask('/phone/keys');
  if (!newest) throw new Failure('The issuer has no key to seal codes to.');
  const bound = await associatedData(call.screen, call.phone, prompt);
  return exchange('response', await seal(text, newest, profile.value, bound));
}

/** One request of Hubtel's callbacks. One that got no answer keeps its count, so that sent again it acts once. */
async function exchange(type, message) {
  const request = {
    SessionId: call.session, Mobile: call.phone, Type: type, Message: message, Sequence: call.sequence + 1,
  };
  const shown = await ask('/phone/ussd', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request),
  });
  call.sequence += 1;
  call.screen = shown.Message;
  screen.textContent = shown.Message;
  if (shown.Type !== 'response') call = null;
}

function hangUp() {
  call = null;
  screen.textContent = '';
}

/** What the field is for now. Where a code is asked for it hides what is typed. */
function arrange() {
  const asksForCode = call !== null && parsePrompt(call.screen) !== null;
  typed.type = asksForCode ? 'password' : 'text';
  typed.placeholder = call ? '' : '*920*55#';
  at('asked').textContent = asksForCode ? 'Code, or 9 to refuse' : call ? 'Answer' : 'Dial';
  at('send').textContent = call ? 'Send' : 'Call';
  at('hangup').disabled = call === null;
}

async function attempt(work) {
  if (isSending) return;
  isSending = true;
  problem.textContent = '';
  try {
    await work();
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    if (call?.sequence === 0) call = null;
    problem.textContent = failure.message;
  } finally {
    isSending = false;
    arrange();
    typed.focus();
  }
}

at('entry').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = typed.value;
  if (text === '' || isSending) return;
  typed.value = '';
  attempt(() => (call ? answer(text) : dial(text)));
});
at('keypad').addEventListener('click', (event) => {
  if (event.target.tagName === 'BUTTON') typed.value += event.target.textContent;
});
at('delete').addEventListener('click', () => {
  typed.value = typed.value.slice(0, -1);
});
at('hangup').addEventListener('click', () => attempt(async () => hangUp()));
number.addEventListener('change', () => {
  if (!isSending) hangUp();
  arrange();
  at('messages').replaceChildren();
});

// Messages and webhooks

function entry(list, name, time, parts) {
  if ([...list.children].some((item) => item.dataset.name === name)) return false;
  const item = document.createElement('li');
  item.dataset.name = name;
  const moment = document.createElement('time');
  moment.dateTime = time;
  moment.textContent = new Date(time).toLocaleTimeString();
  item.append(moment, ...parts);
  list.prepend(item);
  return true;
}

function showMessage(message) {
  const isNew = entry(at('messages'), message.reference, message.at, [message.body]);
  const code = message.body.match(/\*[0-9*]+#/);
  // What a notice says to dial is ready to be dialled.
  if (isNew && code && !call && typed.value === '') typed.value = code[0];
}

function showWebhook(webhook) {
  const lines = document.createElement('pre');
  lines.textContent = [
    `webhook-id: ${webhook.id}`, `webhook-timestamp: ${webhook.timestamp}`,
    `webhook-signature: ${webhook.signature}`, '', webhook.body,
  ].join('\n');
  const title = document.createElement('strong');
  title.textContent = webhook.type;
  entry(at('webhooks'), String(webhook.number), webhook.at, [title, lines]);
}

async function refresh() {
  const phone = ownNumber();
  const news = await ask(`/phone/news?phone=${encodeURIComponent(phone ?? '')}`);
  if (phone === ownNumber()) news.messages.forEach(showMessage);
  news.webhooks.forEach(showWebhook);
  // In a call, or while something is typed, it waits.
  const isIdle = !call && !isSending && (typed.value === '' || serviceCode.test(typed.value));
  if (news.prompts.length > 0 && phone === ownNumber() && isIdle) {
    typed.value = '';
    await attempt(() => take(news.prompts[0].session));
  }
}

async function watch() {
  let isLost = false;
  for (;;) {
    try {
      await refresh();
      if (isLost) problem.textContent = '';
      isLost = false;
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      isLost = true;
      problem.textContent = failure.message;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

arrange();
at('receiver').textContent = `${location.origin}/phone/webhooks`;
await watch();
