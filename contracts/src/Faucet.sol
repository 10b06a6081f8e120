// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

interface IMintable {
    function balanceOf(address account) external view returns (uint256);
    function mint(address to, uint256 amount) external;
}

/// Gives test tokens to whoever has few.
contract Faucet {
    uint256 public constant PORTION = 1000 ether;

    IMintable public immutable token;

    constructor(IMintable token_) {
        token = token_;
    }

    function create() external {
        require(token.balanceOf(msg.sender) < PORTION, "Cannot acquire more funds");
        token.mint(msg.sender, PORTION);
    }
}
