import socket,sys,os
s=socket.socket(socket.AF_UNIX); s.connect(os.environ['ROOST_RUN']+'/roostd.sock')
f=s.makefile('rw'); print('D',f.readline().strip(),flush=True)
f.write('{"execute":"qmp_capabilities"}\n'); f.flush()
for l in f: print('D',l.strip(),flush=True)
