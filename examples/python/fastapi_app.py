"""A FastAPI application. It knows nothing of kolk: which loop runs it is said
when it is served.

    uvicorn --app-dir examples/python fastapi_app:app --loop kolk:new_event_loop
"""

import asyncio
import time

from fastapi import BackgroundTasks, FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI(title="The kitchen")
ready = []


class Order(BaseModel):
    dish: str
    count: int = 1


async def cook(dish):
    """Others are cooked meanwhile."""
    await asyncio.sleep(0.01)
    return f"{dish}: ready"


@app.get("/")
async def menu():
    return {"dishes": ["eggs", "toast", "coffee"]}


@app.get("/breakfast")
async def breakfast():
    """Three dishes at once take as long as one."""
    dishes = await asyncio.gather(*map(cook, ("eggs", "toast", "coffee")))
    return {"breakfast": dishes}


@app.get("/dishes/{number}")
async def dish(number: int):
    if number >= 1000:
        raise HTTPException(404, "there is no such dish")
    return {"number": number}


@app.post("/orders")
async def order(order: Order, background: BackgroundTasks):
    """Cooked after the response has been sent."""
    background.add_task(ready.append, order.dish)
    return {"ordered": order.dish, "count": order.count}


@app.get("/oven")
def oven():
    """Blocks, so FastAPI runs it in a thread."""
    time.sleep(0.005)
    return {"oven": "hot"}


@app.get("/loop")
async def loop():
    """What runs this application."""
    loop = asyncio.get_running_loop()
    kind = type(loop)
    name, why = getattr(loop, "backend", ("its own", ""))
    return {"loop": f"{kind.__module__}.{kind.__qualname__}",
            "backend": name, "why": why}
