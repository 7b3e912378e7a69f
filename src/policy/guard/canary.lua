local ways={}
local function way(f) ways[#ways+1]=f end
way(function() return redis end)
way(function() return server end)
way(function() return _G.redis end)
way(function() return _G.server end)
way(function() return getfenv(0).redis end)
way(function() return getfenv(1).redis end)
way(function() return getfenv(print).redis end)
way(function() return loadstring('return redis')() end)
way(function() return load(function() return nil end) end)
way(function() local done return load(function() if done then return nil end done=true return 'return redis' end)() end)
way(function() return debug.getregistry() end)
way(function() return package.loaded.redis end)
way(function() return getmetatable('').__index.redis end)
way(function() return getmetatable(_G).__index(_G,'redis') end)
way(function() return coroutine.wrap(function() return redis end)() end)
way(function() return coroutine.wrap(function() return _G.redis end)() end)
way(function() return select(2,xpcall(function() error(1) end,function() return redis end)) end)
way(function() return select(2,xpcall(function() error(1) end,function() return _G.redis end)) end)
way(function() return setfenv(function() return redis end,{}) and redis end)
way(function() return newproxy(true) end)
for i=1,#ways do
local ok,api=pcall(ways[i])
if ok and type(api)=='table' then
for _,name in ipairs({'call','pcall'}) do
local f=api[name]
if type(f)=='function' then
local done,r=pcall(f,'ECHO','respgate')
if done and r=='respgate' then return 'escaped' end
end
end
end
end
return 'kept'
