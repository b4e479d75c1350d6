// Calls the official Node clients as lines of JSON on standard input say, and writes the result of each as a line of JSON.
import { createInterface } from "node:readline";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const METHODS = {
  chat: (client) => client.chat.completions,
  responses: (client) => client.responses,
  completions: (client) => client.completions,
  embeddings: (client) => client.embeddings,
  messages: (client) => client.messages,
};

function clientOf({ sdk, url, key, timeout_s, retries, headers }) {
  const options = { maxRetries: retries, timeout: timeout_s * 1000, defaultHeaders: headers, apiKey: key };
  return sdk === "openai" ? new OpenAI({ ...options, baseURL: `${url}/v1` }) : new Anthropic({ ...options, baseURL: url });
}

async function answered(client, asked, result) {
  const { api, body } = asked;
  if (api === "models") {
    result.answer = { data: (await client.models.list()).data };
    return;
  }
  if (api === "count_tokens") {
    result.answer = await client.messages.countTokens(body);
    return;
  }
  if (asked.accumulate) {
    const stream = api === "chat" ? client.chat.completions.stream(body) : client[api].stream(body);
    const final = { chat: "finalChatCompletion", messages: "finalMessage", responses: "finalResponse" }[api];
    result.answer = await stream[final]();
    return;
  }
  const { data, response } = await METHODS[api](client).create(body).withResponse();
  result.headers = Object.fromEntries(response.headers);
  if (!body.stream) {
    result.answer = data;
    return;
  }
  for await (const event of data) {
    result.events.push(event);
    if (asked.leave_after && result.events.length >= asked.leave_after) {
      data.controller.abort();
      break;
    }
  }
}

async function run(asked) {
  const result = { id: asked.id, events: [], headers: {} };
  try {
    await answered(clientOf(asked), asked, result);
  } catch (error) {
    const headers = error.headers ? Object.fromEntries(error.headers) : {};
    result.error = { type: error.constructor.name, status: error.status ?? null, message: String(error.message), headers };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line));
