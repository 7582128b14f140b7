"""How much of a model's context a prompt takes, told from its bytes: nothing here knows the tokenizer.

A server cuts off the beginning of a prompt that is longer than the window it was asked for (`num_ctx`), and
says so only by the number of tokens that it read.
"""

LEAST_WINDOW = 4_096
"""What Ollama takes by itself on small machines. A window is this, doubled as often as it takes, because for
each other size Ollama loads the model anew."""

# English has 4 bytes to a token and Chinese 3, so this is rather more tokens than there are.
_BYTES_PER_TOKEN = 3
# No tokenizer in use makes fewer tokens of a text.
_MOST_BYTES_PER_TOKEN = 8
# The template around the messages.
_TEMPLATE_TOKENS = 100
# A prompt that ends this near to the end of a window was shortened to fit, or leaves no room for an answer.
_SPARE_TOKENS = 8
# Every window is a multiple of this. The smallest in use has two; a prompt is shortened to no less than one.
_UNIT = 1_024


def window_for(prompt_bytes: int, answer_tokens: int) -> int:
    """The window, in tokens, in which a prompt and its answer find room."""
    needed = prompt_bytes // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS + answer_tokens
    window = LEAST_WINDOW
    while window < needed:
        window *= 2
    return window


def at_least_tokens(prompt_bytes: int) -> int:
    """The fewest tokens that a prompt can be."""
    return prompt_bytes // _MOST_BYTES_PER_TOKEN


def was_filled(tokens_read: int, window: int) -> bool:
    """Whether what was read of a prompt fills the window, so that something was probably cut off."""
    return tokens_read > window - _SPARE_TOKENS


def seems_shortened(tokens_read: int, prompt_bytes: int) -> bool:
    """Whether a server perhaps took another window than it was asked for, and read less than the prompt.

    A server that keeps prompts in a cache may count only what was new to it, down to nothing at all. So a
    small count says nothing; a large one does if it is too small for the prompt, or as large as a window is.
    """
    if tokens_read < _UNIT:
        return False
    fills_one = (tokens_read + _SPARE_TOKENS) % _UNIT <= _SPARE_TOKENS
    return tokens_read < at_least_tokens(prompt_bytes) or (
        fills_one and tokens_read < prompt_bytes // _BYTES_PER_TOKEN
    )


def was_shortened(tokens_read: int, prompt_bytes: int, window: int | None) -> bool:
    """Whether it did, by the window that the server tells, or without one where nothing else explains it."""
    return was_filled(tokens_read, window) if window else tokens_read < at_least_tokens(prompt_bytes)
