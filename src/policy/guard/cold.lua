-- What is known of every command, and what becomes of a call that is not one of the simplest.
-- `M` has a row for each command that the policy permits: its arity, its letters, its keys.
local function make(repeats)
local find,sub,low,fmt,match,gmatch=string.find,string.sub,string.lower,string.format,string.match,string.gmatch
local M="@TABLE@"
local ACCESS={n=1,r=2,w=3,b=4}
local function no(text) return {err=text} end
local function word(v) return v and low(match(v,"^[^%z]*")) end
local function num(v)
if v%1==0 and v<1e15 and v>-1e15 and (v~=0 or 1/v>0) then return fmt("%.0f",v) end
return rp("ECHO",v)
end
local function row(w)
if not find(w,"^[%w_%-%.|]+$") then return nil end
local _,e=find(M," "..w..":",1,true)
return e and match(M,"^[^ ]*",e+1)
end
local function whole(v,least,most)
if not v or not (v=="0" or find(v,"^[1-9]%d*$")) then return nil end
local x=tonumber(v)
if x>=least and x<=most then return x end
end
local function sort(a,n,put,store)
put(1,2,1)
local i=2
while i<n do
local o=word(a[i+1])
if o=="asc" or o=="desc" or o=="alpha" then i=i+1
elseif o=="limit" then if not a[i+3] then return 1 end i=i+3
elseif o=="store" and store then if put(i+1,3,1) then return 1 end i=i+2
elseif o=="by" or o=="get" then
local p=a[i+2]
if not p then return 1 end
if find(match(p,"^[^%z]*"),"*",1,true) then put(i+1,2,2) end
i=i+2
else return 1 end
end
end
local function geo(a,n,put,from)
put(1,2,1)
local i=from
while i<n do
local o=word(a[i+1])
if o=="count" then if not a[i+2] then return 1 end i=i+2
elseif o=="store" or o=="storedist" then if put(i+1,3,1) then return 1 end i=i+2
elseif o=="withdist" or o=="withhash" or o=="withcoord" or o=="any" or o=="asc" or o=="desc" then i=i+1
else return 1 end
end
end
local function streams(a,n,put)
local i=1
while true do
local o=word(a[i+1])
if not o then return 1
elseif o=="streams" then break
elseif o=="block" or o=="count" or o=="claim" or o=="maxcount" or o=="maxsize" then if not a[i+2] then return 1 end i=i+2
elseif o=="group" then if not a[i+3] then return 1 end i=i+3
elseif o=="noack" then i=i+1
else return 1 end
end
local left=n-(i+1)
if left<=0 or left%2~=0 then return 2 end
for j=i+1,i+left/2 do put(j,2,1) end
end
local function bits(a,n)
local i=2
while i<n do
local o=word(a[i+1])
if o=="get" and i+2<n then i=i+3
elseif o=="overflow" and i+1<n then i=i+2
else return 4 end
end
return 2
end
local function places(s,a,n,letters)
local o,m={},0
local function put(i,c,d)
if not a[i+1] then return true end
o[m+1],o[m+2],o[m+3]=i+1,c,d
m=m+3
end
local seen=0
for it in gmatch(s,"[^,]+") do
seen=seen+1
if seen>2 then
local t=sub(it,1,1)
local bad
if t=="s" then
local f,st,sp,le,c=match(it,"(%d+)%.(%d+)%.(%d+)%.(%d+)(%a)")
local e=n-sp
if e<f+le then bad=1 else for i=f+0,e-1,st+0 do put(i,ACCESS[c],1) end end
elseif t=="c" then
local ct,st,le,c=match(it,"(%d+)%.(%d+)%.(%d+)(%a)")
ct,st=ct+0,st+0
local room=n-ct-1
room=(room-room%st)/st
local x=whole(a[ct+1],le+0,room)
if not a[ct+1] then bad=1 elseif not x then bad=2 else for i=1,x do put(ct+1+(i-1)*st,ACCESS[c],1) end end
elseif t=="S" then
local c=3
for i=4,n do if word(a[i])=="get" then c=4 end end
if put(1,c,1) then bad=1 end
elseif t=="B" then if put(1,bits(a,n),1) then bad=1 end
elseif t=="O" then bad=sort(a,n,put,true)
elseif t=="o" then bad=sort(a,n,put,false)
elseif t=="G" then bad=geo(a,n,put,sub(it,2)+0)
elseif t=="X" then bad=streams(a,n,put)
elseif t=="p" then if put(sub(it,2)+0,3,3) then bad=1 end
else
local i,c=match(it,"^(%d+)(%a)$")
if put(i+0,ACCESS[c],1) then bad=1 end
end
if bad==2 and find(letters,"M",1,true) then bad=1 end
if bad then return nil,bad end
end
end
return o,m
end
local function walk(a,n,scan)
local p={}
if not scan then return {2} end
local i=3
while i<=n do
local o=word(a[i])
if not a[i+1] then return nil end
if o=="match" then p[#p+1]=i+1 elseif o~="count" and o~="type" and o~="slot" then return nil end
i=i+2
end
return p
end
@RULES@
local function without(r,a,o,m)
for i=1,m,3 do
if o[i+2]==1 then
local name="'"..match(a[o[i]],"^[^%z]*").."'"
local b,e=find(r.err,name,1,true)
if b then r.err=sub(r.err,1,b)..sub(name,2+@BYTES@)..sub(r.err,e+1) end
end
end
return r
end
local function where(r,one)
local _,p=pcall(error,"",4)
local l=match(p,":(%d+): $")
l=l and l+0 or one
return setmetatable(r,{__newindex=function() end,__index=l and {line=l,source="@user_script"}})
end
local function cut(v)
if type(v)~="string" then return v end
if sub(v,1,@BYTES@)~=@PREFIX@ then return nil end
return sub(v,1+@BYTES@)
end
local function strip(r,letters)
local good=true
local function each(t) for i=1,#t do local v=cut(t[i]) if v==nil then good=false else t[i]=v end end end
local function first(t) if type(t)=="table" and t[1]~=nil then local v=cut(t[1]) if v==nil then good=false else t[1]=v end end end
if find(letters,"[KA]") then each(r)
elseif find(letters,"C",1,true) then if type(r[2])=="table" then each(r[2]) end
elseif find(letters,"F",1,true) then first(r)
elseif find(letters,"Z",1,true) then
if type(r.map)=="table" then
local t={}
for name,v in pairs(r.map) do local x=cut(name) if x==nil then good=false else t[x]=v end end
r.map=t
else for i=1,#r do first(r[i]) end end
end
if good then return r end
return no(@FOREIGN@)
end
local function barred(w,i,n)
local arity,flags=i[2],i[3]
if type(arity)~="number" or type(flags)~="table" then return @RUN@ end
if arity>0 and n~=arity or n< -arity then return "@ARITY@" end
for k,v in pairs(flags.set or flags) do
local f=type(k)=="table" and k or v
if type(f)=="table" and f.ok=="noscript" then return "@NOSCRIPT@" end
end
return @RUN@
end
return function(asks,c,k,...)
local n=select("#",...)+2
if k==nil and n==2 then n=c==nil and 0 or 1 end
if n==0 then if asks then return redis.acl_check_cmd() end return rp() end
local a={c,k,...}
for i=1,n do
local v=a[i]
if type(v)=="number" then v=num(v) a[i]=v end
if type(v)~="string" then if asks then error(no("@ARGS@")) end return no("@ARGS@") end
end
local w=low(a[1])
local s=not find(w,"|",1,true) and row(w)
if s=="@" then
if n<2 then if asks then return false end return no("@ARITY@") end
w=w.."|"..low(a[2])
s=row(w)
end
if not s then
local i=rp("COMMAND","INFO",w)
local known=type(i)=="table" and type(i[1])=="table" and i[1]
if asks then if known then return false end return redis.acl_check_cmd(a[1]) end
if not known then return no("@UNKNOWN@") end
return no(barred(w,known,n))
end
local arity,letters=match(s,"^(%-?%d+),([^,]*)")
arity=arity+0
if arity>0 and n~=arity or n< -arity then if asks then return false end return no("@ARITY@") end
local o,m=places(s,a,n,letters)
if not o then
if asks then return false end
local f=match(s,",c(%d+)")
if m==2 and f then
-- The server refuses the number of keys in its own words, whatever the names are.
for i in gmatch(s,",(%d+)[nrwb]") do a[i+1]=@ANY@ end
for i=f+2,n do a[i]=@EACH@ end
return rp(unpack(a,1,n))
end
return no(@SYNTAX@)
end
local denied=deny(w,s,letters,a,n,o,m)
if denied then if asks then return false end return no(denied) end
local pats
if find(letters,"[KC]") then
pats=walk(a,n,find(letters,"C",1,true))
if not pats then if asks then return false end return no(@SYNTAX@) end
for i=1,#pats do if not mayScan(a[pats[i]]) then if asks then return false end return no(@KEY@) end end
if #pats==0 and not mayScan("*") then if asks then return false end return no(@KEY@) end
end
local own={}
for i=1,m,3 do
local at=o[i]
own[i]=a[at]
a[at]=@PREFIX@..a[at]
end
@SCANS@
if asks then return redis.acl_check_cmd(unpack(a,1,n)) end
local r=rp(unpack(a,1,n))
if type(r)=="table" then
if r.err then return @WITHOUT@ end
@STRIPS@
end
@TTL@
return r
end,where
end
