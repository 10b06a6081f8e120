// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.20;

import {IERC20} from "./IERC20.sol";

/// Deposits: a funder locks tokens that a spender pays out to others.
///
/// A deposit's id is the funder's address and a nonce of the funder's choice, and is used once.
/// The flat fee goes to the spender when it closes the deposit, back to the funder when the funder takes all back.
contract LockPayment {
    uint64 public constant CONTRACT_ID = 0x167583000;
    uint64 public constant CONTRACT_VERSION = 2;
    uint64 public constant CONTRACT_ID_AND_VERSION = CONTRACT_ID | CONTRACT_VERSION;

    /// Stands where the spender stood once a deposit has ended; keeps the id used.
    address private constant ENDED = address(0x0Bad);

    struct Deposit {
        address spender;
        uint64 validTo;
        uint128 amount;
        uint128 feeAmount;
    }

    struct DepositView {
        uint256 id;
        uint64 nonce;
        address funder;
        address spender;
        uint128 amount;
        uint64 validTo;
    }

    IERC20 public immutable GLM;
    mapping(uint256 => Deposit) public deposits;

    event DepositCreated(uint256 indexed id, address spender);
    event DepositExtended(uint256 indexed id, address spender);
    event DepositClosed(uint256 indexed id, address spender);
    event DepositTerminated(uint256 indexed id, address spender);
    event DepositFeeTransfer(uint256 indexed id, address spender, uint128 amount);
    event DepositTransfer(uint256 indexed id, address spender, address recipient, uint128 amount);

    constructor(IERC20 token) {
        GLM = token;
    }

    // --- ids -----------------------------------------------------------

    function idFromNonce(uint64 nonce) external view returns (uint256) {
        return idFromNonceAndFunder(nonce, msg.sender);
    }

    function idFromNonceAndFunder(uint64 nonce, address funder) public pure returns (uint256) {
        return (uint256(uint160(funder)) << 96) | nonce;
    }

    function nonceFromId(uint256 id) public pure returns (uint64) {
        return uint64(id);
    }

    function funderFromId(uint256 id) public pure returns (address) {
        return address(uint160(id >> 96));
    }

    // --- reading -------------------------------------------------------

    function getDeposit(uint256 id) public view returns (DepositView memory) {
        Deposit storage deposit = deposits[id];
        return DepositView(id, nonceFromId(id), funderFromId(id), deposit.spender, deposit.amount, deposit.validTo);
    }

    function getDepositByNonce(uint64 nonce, address funder) external view returns (DepositView memory) {
        return getDeposit(idFromNonceAndFunder(nonce, funder));
    }

    /// Tells a payment driver which values `validateDeposit` wants.
    function getValidateDepositSignature() external pure returns (string memory) {
        return '[{"type": "uint256", "name": "id"}, {"type": "uint128", "name": "flatFeeAmount"}]';
    }

    function validateDeposit(uint256 id, uint128 flatFeeAmount) external view returns (string memory) {
        Deposit storage deposit = deposits[id];
        if (deposit.spender == address(0)) {
            return "failed due to wrong deposit id";
        }
        if (deposit.feeAmount != flatFeeAmount) {
            return "failed due to flatFeeAmount mismatch";
        }
        return "valid";
    }

    // --- the funder ----------------------------------------------------

    function createDeposit(uint64 nonce, address spender, uint128 amount, uint128 flatFeeAmount, uint64 validToTimestamp)
        external
        returns (uint256 id)
    {
        require(amount > 0, "amount must be more than zero");
        require(spender != address(0), "spender cannot be the zero address");
        require(spender != msg.sender, "spender cannot be the funder");
        id = idFromNonceAndFunder(nonce, msg.sender);
        require(deposits[id].spender == address(0), "deposit id was used before");
        deposits[id] = Deposit(spender, validToTimestamp, amount, flatFeeAmount);
        take(uint256(amount) + flatFeeAmount);
        emit DepositCreated(id, spender);
    }

    function extendDeposit(uint64 nonce, uint128 additionalAmount, uint128 additionalFlatFee, uint64 validToTimestamp)
        external
    {
        uint256 id = idFromNonceAndFunder(nonce, msg.sender);
        Deposit storage deposit = deposits[id];
        requireOpen(deposit);
        require(validToTimestamp >= deposit.validTo, "deposit cannot be shortened");
        deposit.validTo = validToTimestamp;
        deposit.amount += additionalAmount;
        deposit.feeAmount += additionalFlatFee;
        take(uint256(additionalAmount) + additionalFlatFee);
        emit DepositExtended(id, deposit.spender);
    }

    function terminateDeposit(uint64 nonce) external {
        uint256 id = idFromNonceAndFunder(nonce, msg.sender);
        Deposit storage deposit = deposits[id];
        requireOpen(deposit);
        require(deposit.validTo < block.timestamp, "deposit is still valid");
        address spender = deposit.spender;
        uint256 rest = uint256(deposit.amount) + deposit.feeAmount;
        end(deposit);
        give(msg.sender, rest);
        emit DepositTerminated(id, spender);
    }

    // --- the spender ---------------------------------------------------

    function closeDeposit(uint256 id) public {
        Deposit storage deposit = deposits[id];
        requireSpender(deposit);
        uint128 rest = deposit.amount;
        uint128 fee = deposit.feeAmount;
        end(deposit);
        give(funderFromId(id), rest);
        give(msg.sender, fee);
        emit DepositClosed(id, msg.sender);
        emit DepositFeeTransfer(id, msg.sender, fee);
    }

    function depositSingleTransfer(uint256 id, address recipient, uint128 amount) public {
        Deposit storage deposit = deposits[id];
        requireSpender(deposit);
        pay(id, deposit, recipient, amount);
    }

    /// A payment is 20 bytes of address and 12 bytes of amount.
    function depositTransfer(uint256 id, bytes32[] calldata payments) public {
        Deposit storage deposit = deposits[id];
        requireSpender(deposit);
        for (uint256 i = 0; i < payments.length; ++i) {
            pay(id, deposit, address(bytes20(payments[i])), uint96(uint256(payments[i])));
        }
    }

    function depositSingleTransferAndClose(uint256 id, address recipient, uint128 amount) external {
        depositSingleTransfer(id, recipient, amount);
        closeDeposit(id);
    }

    function depositTransferAndClose(uint256 id, bytes32[] calldata payments) external {
        depositTransfer(id, payments);
        closeDeposit(id);
    }

    // --- inside --------------------------------------------------------

    function pay(uint256 id, Deposit storage deposit, address recipient, uint128 amount) private {
        require(recipient != msg.sender, "spender cannot pay itself");
        require(deposit.amount >= amount, "deposit amount exceeded");
        unchecked {
            deposit.amount -= amount;
        }
        give(recipient, amount);
        emit DepositTransfer(id, msg.sender, recipient, amount);
    }

    function requireOpen(Deposit storage deposit) private view {
        require(deposit.spender != address(0) && deposit.spender != ENDED, "deposit is not open");
    }

    function requireSpender(Deposit storage deposit) private view {
        requireOpen(deposit);
        require(deposit.spender == msg.sender, "caller is not the spender");
    }

    function end(Deposit storage deposit) private {
        deposit.spender = ENDED;
        deposit.amount = 0;
        deposit.feeAmount = 0;
    }

    function take(uint256 amount) private {
        require(GLM.transferFrom(msg.sender, address(this), amount), "transferFrom failed");
    }

    function give(address to, uint256 amount) private {
        if (amount > 0) {
            require(GLM.transfer(to, amount), "transfer failed");
        }
    }
}
