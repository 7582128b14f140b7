"""A small language model that runs here and speaks the Ollama HTTP API, for machines without Ollama.

`weights` fetches and verifies the model file, `engine` runs it in llama.cpp, `server` answers as Ollama
would. It runs in its own process (`python -m runtime.embedded_model`): its death is a fault like any other.
"""
