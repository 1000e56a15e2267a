import asyncio, json, pytest
from stream.topology import *
from groundswell.records import Document
from tests.stages import site, until
async def test_stress(kafka_address, redis_url, topic_prefix, tmp_path):
    here = await site(kafka_address, redis_url, topic_prefix, tmp_path)
    total=25000
    await here.push(NEWS,[json.dumps([{"id":f"d{10*n+m}","text":f"report {10*n+m} of harbour tin 港湾锡业 "*12} for m in range(10)]).encode() for n in range(total//10)])
    for wait in (0.3,1.1,0.6,1.7):
        async with here.stage("ingest") as p:
            before=(await here.books()).stages["ingest"].applied
            async def begun(): return (await here.books()).stages["ingest"].read>before
            await until(begun,"begin")
            await asyncio.sleep(wait)
            st,s=await p.terminated()
            b=(await here.books()).stages["ingest"]
            print(wait,st,round(s,2),b.read,b.in_flight)
            if st: print(p.said[-1500:])
    async with here.stage("ingest") as p:
        c=await here.until_read("ingest",total)
        print(c, await p.terminated()); print(p.said[-800:])
    ids=[d.id for ds in await here.values(DOCUMENTS,list[Document]) for d in ds]
    print(len(ids),len(set(ids)))
    assert c.read==total==len(set(ids))
