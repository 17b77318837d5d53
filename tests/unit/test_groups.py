"""Groups that share their prompt: the probabilities of plain separate sequences, and none for the tokens of images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tests.gpu import qwen3vl
from tracer.planner.tiny import IMAGE, IMAGE_SIZE, PATCH, build_model, build_processor
from tracer.planner.transformers import image_tokens, without_image_tokens
from tracer.training.trl import groups

PAD, EOS, VOCABULARY = 0, 1, 64
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}


GRIDS = torch.tensor([[1, 4, 4], [1, 4, 8], [1, 6, 2]])
"""The patches of Qwen3-VL's pictures; two by two they are a token."""


def qwen3_vl() -> Any:
    tokenizer = build_processor(["click"], 300).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(qwen3vl.VISION)})
    return qwen3vl.model(tokenizer, qwen3vl.SMALL)


def models() -> dict[str, Any]:
    torch.manual_seed(0)
    llava = build_model(build_processor(["click the button"], 300), hidden=32, layers=2)
    return {
        "llama": LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS)).eval(),
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**SIZES, **HEADS, head_dim=8)).eval(),
        "llava": llava.eval(),
        "qwen3_vl": qwen3_vl().eval(),
    }


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "CHUNK", 2)  # the tests have few prompts


@pytest.fixture(scope="module", params=["llama", "qwen3", "llava", "qwen3_vl"])
def named(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, models()[request.param]


def prompts(name: str, model: Any, lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Random prompts of these lengths, padded on the left; with pictures for the models that see."""
    generator = torch.Generator().manual_seed(1)
    grids = GRIDS[: len(lengths)]
    pictures = {"llava": [(IMAGE_SIZE // PATCH) ** 2] * len(lengths), "qwen3_vl": (grids.prod(dim=1) // 4).tolist()}
    counts = pictures.get(name, [0] * len(lengths))
    width = max(map(sum, zip(counts, lengths, strict=True)))
    ids, mask = torch.full((len(lengths), width), PAD), torch.zeros(len(lengths), width, dtype=torch.long)
    for row, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        words = torch.randint(4, VOCABULARY, (length,), generator=generator)
        image = torch.full((count,), model.config.image_token_id if count else 0)
        ids[row, width - count - length :] = torch.cat([words[:1], image, words[1:]])
        mask[row, width - count - length :] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if name == "llava":
        inputs["pixel_values"] = torch.randn(len(lengths), 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    if name == "qwen3_vl":
        patches = int(grids.prod(dim=1).sum())
        inputs["pixel_values"] = torch.randn(patches, 3 * 2 * 16 * 16, generator=generator)
        inputs[groups.GRID] = grids
    return inputs


def alone(model: Any, inputs: dict[str, torch.Tensor], of: int, completion: torch.Tensor) -> torch.Tensor:
    """Logits (prompt + completion, vocabulary) of one completion after one prompt, without padding, mask or packing."""
    one = groups.taken(inputs, [of])
    ids = torch.cat([one.pop("input_ids")[0][one.pop("attention_mask")[0].bool()], completion])[None]
    if groups.GRID in one:  # as its own processor says where the picture is
        one["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    logits: torch.Tensor = model(input_ids=ids, **one).logits[0].float()
    return logits


def apart(model: Any, inputs: dict[str, torch.Tensor], of: int, completion: torch.Tensor, temperature: float) -> Any:
    """Log-probabilities and entropies of one completion after one prompt, without any padding, mask or packing."""
    with torch.no_grad():
        logits = alone(model, inputs, of, completion)
    logprobs = (logits[-len(completion) - 1 : -1] / temperature).log_softmax(-1)
    chosen = logprobs.gather(-1, completion[:, None]).squeeze(-1)
    return chosen, -(logprobs.exp() * logprobs).sum(-1)


@pytest.fixture(params=[False, True], ids=["all logits", "the logits of one completion at a time"])
def many_logits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(groups, "MOST_LOGITS", 0)


@pytest.mark.usefixtures("many_logits")
def test_scores_are_those_of_separate_sequences(named: tuple[str, Any]) -> None:
    name, model = named
    inputs = prompts(name, model, (5, 9, 3))
    # Unequal groups (3, 1 and 2 completions), in a mixed order, of unequal lengths padded on the right.
    group = torch.tensor([1, 0, 1, 2, 0, 1])[:6]
    lengths = (4, 7, 1, 6, 7, 2)
    completions = torch.full((6, 7), PAD)
    completion_mask = torch.zeros(6, 7, dtype=torch.long)
    generator = torch.Generator().manual_seed(2)
    for row, length in enumerate(lengths):
        completions[row, :length] = torch.randint(4, VOCABULARY, (length,), generator=generator)
        completion_mask[row, :length] = 1
    with torch.no_grad():
        found, entropy = groups.score(model, inputs, completions, completion_mask, group, 0.7)
    for row, length in enumerate(lengths):
        expected, spread = apart(model, inputs, int(group[row]), completions[row, :length], 0.7)
        torch.testing.assert_close(found[row, :length], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(entropy[row, :length], spread, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("many_logits")
def test_gradients_are_those_of_separate_sequences(named: tuple[str, Any]) -> None:
    name, model = named
    inputs = prompts(name, model, (5, 3))
    completions = torch.randint(4, VOCABULARY, (4, 3), generator=torch.Generator().manual_seed(3))
    weight = model.get_input_embeddings().weight
    ones = torch.ones(4, 3, dtype=torch.long)
    packed, _ = groups.score(model, inputs, completions, ones, torch.tensor([0, 0, 1, 1]), 1.0)
    (ours,) = torch.autograd.grad(packed.sum(), weight)
    total = torch.zeros(())
    for row, of in enumerate((0, 0, 1, 1)):
        logits = alone(model, inputs, of, completions[row])
        total = total + logits[-4:-1].log_softmax(-1).gather(-1, completions[row][:, None]).sum()
    (theirs,) = torch.autograd.grad(total, weight)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_sampled_tokens_have_the_distribution_of_separate_sequences(named: tuple[str, Any]) -> None:
    # At a tiny temperature sampling is greedy, and every completion of a group the same as greedy decoding alone.
    name, model = named
    inputs = prompts(name, model, (6, 2))
    tokens = sample(model, inputs, size=3, steps=5, temperature=1e-6)
    for row in range(2):
        expected: list[int] = []
        while len(expected) < 5 and EOS not in expected:
            with torch.no_grad():
                logits = alone(model, inputs, row, torch.tensor(expected, dtype=torch.long))
            expected.append(int(logits[-1].argmax()))
        for place in range(3):
            assert tokens[3 * row + place].tolist()[: len(expected)] == expected


def sample(
    model: Any, inputs: dict[str, torch.Tensor], *, size: int, steps: int, temperature: float, **options: Any
) -> torch.Tensor:
    options = {"eos": [EOS], "pad": PAD, **options}
    return groups.sample(model, dict(inputs), size=size, max_new_tokens=steps, temperature=temperature, **options)


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
@torch.no_grad()
def test_the_tokens_of_images_have_no_chance_where_it_samples_and_where_it_is_trained(name: str) -> None:
    model = models()[name]
    inputs = prompts(name, model, (4, 7))
    none = image_tokens(model.config)
    model.get_output_embeddings().weight[none] *= 50
    before = alone(model, inputs, 0, torch.tensor([5, 6]))
    rest = [token for token in range(before.shape[-1]) if token not in none]
    assert before.softmax(-1)[..., none].sum(-1).max() > 0.5
    after = alone(without_image_tokens(model), inputs, 0, torch.tensor([5, 6]))
    assert (after.softmax(-1)[..., none] == 0).all()
    torch.testing.assert_close(after.log_softmax(-1)[..., rest], before[..., rest].log_softmax(-1))
    torch.manual_seed(0)
    assert not torch.isin(sample(model, inputs, size=4, steps=12, temperature=5.0), torch.tensor(none)).any()


def test_nothing_follows_an_end(named: tuple[str, Any]) -> None:
    name, model = named
    torch.manual_seed(0)
    ends = list(range(4, 40))  # ends are frequent
    tokens = sample(model, prompts(name, model, (4, 7)), size=4, steps=8, temperature=5.0, eos=ends)
    assert tokens.shape[1] <= 8
    for row in tokens.tolist():
        first = next((index for index, token in enumerate(row) if token in ends), len(row))
        assert set(row[first + 1 :]) <= {PAD}


def test_padding_changes_nothing(named: tuple[str, Any]) -> None:
    name, model = named
    short, long = prompts(name, model, (4,)), prompts(name, model, (4, 30))
    completion, mask = torch.tensor([[7, 8, 9]]), torch.ones(1, 3, dtype=torch.long)
    scores = []
    for inputs in (short, long):
        one = groups.taken(inputs, [0])
        if "pixel_values" in one:
            one["pixel_values"] = groups.taken(short, [0])["pixel_values"]
        with torch.no_grad():
            scores.append(groups.score(model, one, completion, mask, torch.tensor([0]), 1.0)[0])
    torch.testing.assert_close(scores[0], scores[1], atol=1e-5, rtol=0)


def test_slots_count_within_each_group() -> None:
    assert groups.slots(torch.tensor([2, 0, 2, 1, 2, 0]), 3).tolist() == [0, 0, 1, 0, 2, 1]


def test_prompts_are_the_same_only_with_the_same_picture_and_mask() -> None:
    ids = torch.tensor([[1, 2], [1, 2], [1, 2], [0, 2]])
    mask = torch.tensor([[1, 1], [1, 1], [1, 1], [0, 1]])
    pixels = torch.tensor([[0.5], [0.5], [0.6], [0.5]])
    rows, group = groups.unique_prompts({"input_ids": ids, "attention_mask": mask, "pixel_values": pixels})
    assert rows == [0, 2, 3]
    assert group.tolist() == [0, 0, 1, 2]


def test_the_image_token_is_one_the_tiny_processor_knows() -> None:
    processor = build_processor(["click the button"], 300)
    assert build_model(processor, 32, 1).config.image_token_id == processor.tokenizer.convert_tokens_to_ids(IMAGE)
