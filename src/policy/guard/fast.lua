-- `call`, and `try`, which is `pcall`. Of the commands that the text names, `s` lists which need one key and
-- nothing else; what else may be called is made when it is needed. `f` is the whole name of one of `KEYS`.
local function @NAME@(c,k,...)
local s,f,r=@CODE@,@KNOWN@
if s and @STRING@@ALONE@ then
@FAST@
else
if not C then C,W=make(@REPEATS@) end
r=C(false,c,k,...)
end
@RAISE@
return r
end
