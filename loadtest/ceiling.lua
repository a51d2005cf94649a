-- Sends one question after another from the list that loadtest/ceiling.py inserts.
local bodies = {
--[[bodies]]
}
local headers = { ["content-type"] = "application/json" }
local next_body = 0

function request()
  next_body = next_body % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[next_body])
end
