"""How the scripted model server embeds texts."""

import asyncio
import json
import math
import re
import zlib

from starlette.responses import JSONResponse, Response

from testbed.model_script import Script

SLOW_SECONDS = 2.0


async def embedded(script: Script, model: str, texts: list[str]) -> Response:
    vectors = [_bag_of_words(text, script.dimension) for text in texts]
    longest = script.longest_embedded
    if longest is not None and any(len(text) > longest for text in texts):
        return JSONResponse({"error": "the input length exceeds the context length"}, status_code=400)
    most = script.most_embedded_at_once
    if most is not None and len(texts) > most:
        return JSONResponse({"error": "too many inputs"}, status_code=400)
    for part, fault in script.embedding_faults.items():
        faulty = [place for place, text in enumerate(texts) if part in text]
        if faulty and fault in ("400", "500"):
            return JSONResponse({"error": "cannot embed this"}, status_code=int(fault))
        if faulty and fault == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        for place in faulty:
            if fault == "nan":
                vectors[place] = [math.nan] * script.dimension
            elif fault == "short":
                vectors[place] = vectors[place][1:]
    # Not a JSONResponse: like some servers, it says NaN where there is none in JSON.
    answer = json.dumps({"model": model, "embeddings": vectors})
    return Response(answer, media_type="application/json")


def _bag_of_words(text: str, dimension: int) -> list[float]:
    vector = [0.0] * dimension
    for word in re.findall(r"\w{4,}", text.lower()):
        vector[zlib.crc32(word.encode()) % dimension] += 1.0
    vector[-1] += 0.01  # no text is the zero vector
    return vector
