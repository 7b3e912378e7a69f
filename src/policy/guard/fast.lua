-- `call`, and `try`, which is `pcall`. `T` has the commands that the text names and that need one key and
-- nothing else; what else may be called is made when it is needed.
local function @NAME@(c,k,...)
local s,r=T[c],nil
if s and type(k)=="string" and (s<5 or select("#",...)==0) then
@FAST@
else
if not C then C,W=make(@REPEATS@) end
r=C(false,c,k,...)
end
@RAISE@
return r
end
