-- The mix of calls that wrk sends, as PHP's http_build_query writes them.
-- Arguments: leads in the database, tags, lists, domains, first names (comma-separated), last names, name of the run.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

local function split(text)
  local parts = {}
  for part in text:gmatch("[^,]+") do parts[#parts + 1] = part end
  return parts
end

local leads, tags, lists, domains, firsts, lasts, run
local random, floor, format = math.random, math.floor, string.format
local credentials = "app_id=the-app-of-the-benchmark&api_key=the-key-of-the-benchmark"
  .. "&api_password=the-password-of-the-benchmark"
local made = 0
failures = 0
sample = ""

function init(arguments)
  leads, tags, lists, domains = tonumber(arguments[1]), tonumber(arguments[2]), tonumber(arguments[3]), tonumber(arguments[4])
  firsts, lasts, run = split(arguments[5]), split(arguments[6]), arguments[7] .. number
  math.randomseed(os.time() + 1000 * number + #run)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
end

local function known_email()
  local id = random(leads)
  local first = firsts[id % #firsts + 1]
  local last = lasts[floor(id / #firsts) % #lasts + 1]
  return format("%s.%s.%d%%40mail%d.example", first, last, id, id % domains)
end

local function create_lead()
  made = made + 1
  local first, last = firsts[random(#firsts)], lasts[random(#lasts)]
  return format(
    "&lead%%5Bemail%%5D=%s.%s.%s.%d%%40mail%d.example&lead%%5Bfirst_name%%5D=%s&lead%%5Blast_name%%5D=%s"
      .. "&lead%%5Bcity%%5D=New+York&actions%%5B0%%5D%%5Bcmd%%5D=create_lead"
      .. "&actions%%5B1%%5D%%5Bcmd%%5D=assign_tag&actions%%5B1%%5D%%5Btag_name%%5D=Trial+user+%d"
      .. "&actions%%5B2%%5D%%5Bcmd%%5D=subscribe_lead_to_list&actions%%5B2%%5D%%5Blist_name%%5D=Monthly+letter+%d",
    first, last, run, made, random(domains), first, last, random(tags), random(lists)
  )
end

local function assign_tag()
  return format(
    "&lead%%5Bemail%%5D=%s&actions%%5B0%%5D%%5Bcmd%%5D=assign_tag&actions%%5B0%%5D%%5Btag_name%%5D=Trial+user+%d",
    known_email(), random(tags)
  )
end

local function give_points()
  local expiration = random(2) == 1 and format("&actions%%5B0%%5D%%5Bexpiration%%5D=%d", random(365)) or ""
  return format(
    "&lead%%5Bemail%%5D=%s&actions%%5B0%%5D%%5Bcmd%%5D=give_points_to_lead&actions%%5B0%%5D%%5Bpoints%%5D=%d%s",
    known_email(), random(100), expiration
  )
end

local function get_lead()
  return "&get_lead%5Bemail%5D=" .. known_email()
end

function request()
  local dice = random(10)
  local call
  if dice <= 4 then call = create_lead()
  elseif dice <= 8 then call = assign_tag()
  elseif dice == 9 then call = give_points()
  else call = get_lead() end
  return wrk.format(nil, "/api", nil, credentials .. call)
end

-- Every answer is looked at: it has to be a success, and so has each of its actions.
function response(status, _, body)
  if status ~= 200 or body:sub(1, 19) ~= '{"status":"Success"' or body:find('"Error"', 1, true) then
    failures = failures + 1
    if sample == "" then sample = body end
  end
end

function done(summary, latency, _)
  local failed = 0
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("failures")
    if thread:get("sample") ~= "" then io.stderr:write(thread:get("sample"), "\n") end
  end
  local trouble = summary.errors
  print(format(
    '{"calls":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"errors":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, failed + trouble.connect + trouble.read + trouble.write + trouble.timeout
  ))
end
